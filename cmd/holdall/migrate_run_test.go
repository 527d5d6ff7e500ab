package main

import (
	"strings"
	"testing"
	"time"
)

func TestMigrateRefusesWhatCannotBe(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"create", "photos"}, "want s3://BUCKET"},
		{[]string{"create", "photos", "--source", "s3://a/b"}, "want s3://BUCKET"},
		{[]string{"create", "photos", "--source", "s3://a", "--endpoint", "127.0.0.1:7420"}, "want the URL of an S3 server"},
		{[]string{"create", "photos", "--source", "s3://a", "--endpoint", "http://key:secret-in-url@host"}, "credentials are named by --profile"},
		{[]string{"create", "photos", "--source", "s3://a", "--on-secondary-failure", "pray"}, "want outbox or fail"},
		{[]string{"create", "photos", "--source", "s3://a", "--clean-run", "a month"}, "want a time as in 30d"},
		{[]string{"advance", "photos", "somewhere"}, "want assess, mirror"},
		{[]string{"except", "photos", "k"}, "give --reason and --signed-by"},
		{[]string{"backfill", "photos", "--schedule", "20-06", "--requests", "08-18=5"}, "give one"},
		{[]string{"certificate", "verify", "x", "--key", "y"}, "hex digits"},
	} {
		var out, errs strings.Builder
		code := run(t.Context(), append([]string{"migrate"}, c.args...), strings.NewReader(""), &out, &errs)
		if code != exitUsage || !strings.Contains(errs.String(), c.says) || strings.Contains(errs.String(), "secret-in-url") {
			t.Errorf("%v: code %d, %s", c.args, code, errs.String())
		}
	}
}

func TestLongTimes(t *testing.T) {
	for text, want := range map[string]time.Duration{"30d": 720 * time.Hour, "0d": 0, "12h": 12 * time.Hour, "90s": 90 * time.Second} {
		if got, err := parseLong(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "-1d", "-5s", "99999999d", "1.5d"} {
		if got, err := parseLong(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
	if got := longText(720 * time.Hour); got != "30d" {
		t.Errorf("30 days are %s", got)
	}
}
