package lint

import (
	"fmt"
	"go/token"
	"maps"
	"slices"
	"strings"
	"testing"
)

// Each rule finds what it is for, and nothing in code that keeps it: a rule that
// cannot fail proves nothing.
func TestRulesFindWhatTheyAreFor(t *testing.T) {
	lines := func(n int) string { return strings.Repeat("\n", n) }
	for _, c := range []struct {
		path, src string
		want      string // the findings, "" for none
	}{
		{"a/a.go", "package a\nfunc f() {" + lines(70) + "}", "function-lines a/a.go f 71"},
		{"a/a.go", "package a\nfunc f() {" + lines(69) + "}", ""},
		{"a/a.go", "package a\nfunc (t *T[K]) f(a, b, c int, d, e, g string) {}", "parameters a/a.go T.f 6"},
		{"a/a.go", "package a\nfunc f(ctx context.Context, a, b, c, d, e int) {}", ""},
		{"a/a.go", "package a\n" + lines(500), "file-lines a/a.go - 501"},
		{"a/a.go", "package a\nfunc init() {}\nfunc (t T) init() {}", "init a/a.go init 1"},
		{"a/a.go", "package a\ntype I interface { A(); B(); C(); D(); E(); F() }", "interface a/a.go I 6"},
		{"volume/a.go", "package volume\ntype Device interface { A(); B(); C(); D(); E(); F() }", ""},
		{"a/a.go", "package util", "name a/a.go util 1"},
		{"a/a.go", "package a\ntype DiskManager struct{}\nfunc (d D) GetSize() {}\nfunc Get() {}", "name a/a.go D.GetSize 1; name a/a.go DiskManager 1"},
		{"a/a_test.go", "package a\nfunc f() { time.Sleep(1); time.Sleep(2) }", "sleep a/a_test.go time.Sleep 2"},
		{"a/a.go", "package a\nfunc f() { time.Sleep(1) }", ""},
		{"a/a.go", "package a\nvar mu sync.Mutex", "variable a/a.go mu 1"},
		{"a/a.go", "package a\nvar n int\nfunc f() { n++ }", "variable a/a.go n 1"},
		{"a/a.go", "package a\nvar n [2]int\nfunc f() { n[1] = 2 }", "variable a/a.go n 1"},
		{"a/a.go", "package a\nvar n T\nfunc f() { g(&n.x) }", "variable a/a.go n 1"},
		{"a/a.go", "package a\nvar n = 1\nfunc f() { n := 2; n++; _ = n }\nfunc g(n int) { n++ }", ""},
		{"a/a_test.go", "package a\nvar n = 1\nfunc f() { n++ }", ""},
	} {
		f, err := parse(token.NewFileSet(), c.path, c.src)
		if err != nil {
			t.Fatal(err)
		}
		found := judge([]file{f})
		var got []string
		for _, key := range slices.Sorted(maps.Keys(found)) {
			got = append(got, fmt.Sprint(key, " ", found[key]))
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s\nfound %q, want %q", strings.TrimRight(c.src, "\n"), strings.Join(got, "; "), c.want)
		}
	}
}

func TestCommentsAreMissed(t *testing.T) {
	for src, want := range map[string]int{
		"func F() {}":                       1,
		"// F is.\nfunc F() {}":             0,
		"func (t t) F() {}":                 0,
		"func (t *T) F() {}":                1,
		"type T int":                        1,
		"// Sizes.\nconst ( A = 1; B = 2 )": 0,
		"const ( A = 1 // one\n B = 2 )":    1,
		"var ( A, B int; c int )":           2,
	} {
		f, err := parse(token.NewFileSet(), "a/a.go", "package a\n"+src)
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for _, d := range f.ast.Decls {
			got += len(undocumented(d))
		}
		if got != want {
			t.Errorf("%q: %d names without a comment, want %d", src, got, want)
		}
	}
}

// A variable changed from another file of its package is found too.
func TestChangedVariablesAreFoundAcrossFiles(t *testing.T) {
	set := token.NewFileSet()
	var files []file
	for path, src := range map[string]string{"a/a.go": "package a\nvar n int", "a/b.go": "package a\nfunc f() { n = 1 }", "b/b.go": "package b\nvar n int"} {
		f, err := parse(set, path, src)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	if found := judge(files); len(found) != 1 || found["variable a/a.go n"] != 1 {
		t.Errorf("found %v", found)
	}
}
