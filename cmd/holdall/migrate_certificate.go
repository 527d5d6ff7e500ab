package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdall/holdall"
	"github.com/holdall/holdall/client"
	"github.com/holdall/holdall/migration/certificate"
)

func (c *cli) migrateCertificate() *cobra.Command {
	create := &cobra.Command{
		Use:     "create BUCKET",
		Short:   "Make the signed statement on which a flipped bucket is cut over",
		Long:    "Makes the certificate out of the last clean verification and what was written to\nboth sides since, in files of the server's data directory. It is signed with\nmigration.key there, which is made when it is first needed.",
		Example: "  holdall migrate certificate create photos",
		Args:    cobra.ExactArgs(1),
	}
	c.namespaced(create.Flags())
	c.remoteCommand(create, func(ctx context.Context, cl *client.Client, args []string) error {
		made, err := cl.CertifyMigration(ctx, args[0])
		if err != nil {
			return withNext(err, "`holdall migrate status %s` shows what is missing", args[0])
		}
		return c.emit(made, func(w io.Writer) {
			facts(w, "certificate", made.Certificate, "leaves", made.Leaves, "objects", fmt.Sprintf("%s, %s", count(made.Objects), bytesText(made.Bytes)),
				"verified", count(made.Verified), "written to both", count(made.Mirrored), "excepted", count(made.Excepted), "raft index", fmt.Sprint(made.RaftIndex),
				"public key", made.PublicKey, "fingerprint", made.Fingerprint)
		})
	})
	return noun("certificate", "The signed statement on which a bucket is cut over", "  holdall migrate certificate create photos", create, c.migrateCertificateVerify())
}

func (c *cli) migrateCertificateVerify() *cobra.Command {
	var leaves, key string
	cmd := &cobra.Command{
		Use:     "verify FILE",
		Short:   "Check a certificate, offline: its signature, and every leaf against it",
		Example: "  holdall migrate certificate verify photos-20260101T120000Z.certificate --key 3b6a27bc…",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if leaves == "" {
				leaves = strings.TrimSuffix(args[0], ".certificate") + ".leaves"
			}
			return c.verifyCertificate(args[0], leaves, key)
		},
	}
	cmd.Flags().StringVar(&leaves, "leaves", "", "file of the leaves (default beside the certificate)")
	cmd.Flags().StringVar(&key, "key", "", "public key that must have signed it, in hex (default any: the fingerprint is printed)")
	return cmd
}

// verified is what `migrate certificate verify` prints.
type verified struct {
	*certificate.Statement
	Fingerprint string `json:"fingerprint"`
	Trusted     bool   `json:"trusted"` // --key was given, and signed it
}

// maxCertificateFile is more than any certificate has, in bytes.
const maxCertificateFile = 300 << 20

func (c *cli) verifyCertificate(path, leaves, key string) error {
	var trusted ed25519.PublicKey
	if key != "" {
		b, err := hex.DecodeString(key)
		if err != nil || len(b) != ed25519.PublicKeySize {
			return fmt.Errorf("--key: want %d hex digits: %w", 2*ed25519.PublicKeySize, holdall.ErrInvalid)
		}
		trusted = b
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCertificateFile))
	if err != nil {
		return err
	}
	broken := func(err error) error {
		return withNext(err, "do not rely on this certificate: take the bucket back (`holdall migrate rollback`), or make another one")
	}
	s, public, err := certificate.Verify(b, trusted)
	if err != nil {
		return broken(err)
	}
	l, err := os.Open(leaves)
	if err != nil {
		return err
	}
	defer l.Close()
	total, err := certificate.ReadLeaves(l, nil)
	if err == nil {
		err = s.Matches(total)
	}
	if err != nil {
		return broken(err)
	}
	v := verified{s, certificate.Fingerprint(public), trusted != nil}
	return c.emit(v, func(w io.Writer) {
		signer := v.Fingerprint + " (not compared: give --key)"
		if v.Trusted {
			signer = v.Fingerprint + " (as --key says)"
		}
		facts(w, "certificate", "holds", "bucket", s.Bucket+" (namespace "+s.Namespace+", cell "+s.Cell+")", "source", "s3://"+s.SourceBucket+at(s.SourceEndpoint),
			"objects", fmt.Sprintf("%s, %s", count(s.Objects), bytesText(s.Bytes)), "verified", count(s.Verified), "written to both", count(s.Mirrored), "excepted", count(s.Excepted),
			"clean passes", fmt.Sprint(s.Passes), "clean run", fmt.Sprintf("since %s, %s were asked for", when(s.CleanSince), longText(s.CleanRun)), "raft index", fmt.Sprint(s.RaftIndex),
			"created", when(s.Created), "code", s.Code, "root", s.Root.String(), "signed by", signer)
	})
}

func (c *cli) migrateReport() *cobra.Command {
	var page bool
	cmd := &cobra.Command{
		Use:     "report BUCKET",
		Short:   "Print all that is known of a migration, as a page or as JSON",
		Example: "  holdall migrate report photos --html > photos.html\n  holdall migrate report photos --output json",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&page, "html", false, "one self-contained HTML page")
	c.namespaced(cmd.Flags())
	return c.remoteCommand(cmd, func(ctx context.Context, cl *client.Client, args []string) error {
		r := migrationReport{Made: time.Now().UTC().Truncate(time.Second)}
		var err error
		if r.Migration, err = cl.Migration(ctx, args[0]); err != nil {
			return err
		}
		for list, into := range map[*[]client.MigrationKey]func(context.Context, string, func(client.MigrationKey) error) error{
			&r.Outbox: cl.MigrationOutbox, &r.Quarantine: cl.MigrationQuarantine, &r.Exceptions: cl.MigrationExceptions,
		} {
			if err := into(ctx, args[0], func(k client.MigrationKey) error { *list = append(*list, k); return nil }); err != nil {
				return err
			}
		}
		if !page {
			return c.emit(r, func(w io.Writer) { printMigration(w, r.Migration) })
		}
		t, err := template.New("report").Parse(reportPage)
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		r.Text = r.text()
		return t.Execute(c.out, r)
	})
}

// migrationReport is what `migrate report` prints.
type migrationReport struct {
	Made       time.Time             `json:"made"`
	Migration  *client.Migration     `json:"migration"`
	Outbox     []client.MigrationKey `json:"outbox"`
	Quarantine []client.MigrationKey `json:"quarantine"`
	Exceptions []client.MigrationKey `json:"exceptions"`
	Text       string                `json:"-"`
}

func (r *migrationReport) text() string {
	var b strings.Builder
	printMigration(&b, r.Migration)
	return b.String()
}

const reportPage = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Migration of {{.Migration.Bucket}}</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}pre{background:#f4f4f4;padding:1rem;overflow:auto}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ddd;padding:.3rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}</style>
<h1>Migration of {{.Migration.Bucket}}</h1><p>From s3://{{.Migration.Source.Bucket}}, in the state <b>{{.Migration.State}}</b>. Made {{.Made}}.</p>
<pre>{{.Text}}</pre>
{{define "keys"}}{{if .}}<table><tr><th>Key<th>Since<th>What<th>Why<th>Signed by</tr>{{range .}}<tr><td>{{.Key}}<td>{{.Since}}<td>{{.What}}<td>{{.Reason}}<td>{{.SignedBy}}</tr>{{end}}</table>{{else}}<p>None.</p>{{end}}{{end}}
<h2>Quarantine</h2>{{template "keys" .Quarantine}}<h2>Exceptions</h2>{{template "keys" .Exceptions}}<h2>Outbox</h2>{{template "keys" .Outbox}}
</html>
`
