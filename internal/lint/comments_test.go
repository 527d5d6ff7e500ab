package lint

import (
	"go/ast"
	"strings"
	"testing"
)

func TestEveryPackageHasOneComment(t *testing.T) {
	comments := map[string][]string{}
	names := map[string]string{}
	for _, f := range load(t) {
		if f.test {
			continue
		}
		names[f.dir] = f.ast.Name.Name
		if f.ast.Doc != nil {
			comments[f.dir] = append(comments[f.dir], f.ast.Doc.Text())
		}
	}
	for dir, name := range names {
		want := "Package " + name + " "
		if name == "main" {
			want = "Command " + dir[strings.LastIndex(dir, "/")+1:] + " "
		}
		switch c := comments[dir]; {
		case len(c) != 1:
			t.Errorf("package %s has %d package comments, want one", dir, len(c))
		case !strings.HasPrefix(c[0], want):
			t.Errorf("the comment of package %s begins %.30q, want %q", dir, c[0], want)
		case strings.Count(c[0], ".") < 2 && len(c[0]) < 120:
			t.Errorf("the comment of package %s is %q: say what it owns and what it never touches", dir, c[0])
		}
	}
}

func TestEveryExportedNameHasAComment(t *testing.T) {
	for _, f := range load(t) {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			for _, name := range undocumented(d) {
				t.Errorf("%s: %s has no comment", f.where(d), name)
			}
		}
	}
}

// undocumented returns the exported names of a declaration without a comment. In
// a group, one comment may stand for all.
func undocumented(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if r := receiver(d); d.Name.IsExported() && d.Doc == nil && (r == "" || ast.IsExported(r)) {
			names = append(names, funcName(d))
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && s.Doc == nil && d.Doc == nil {
					names = append(names, s.Name.Name)
				}
			case *ast.ValueSpec:
				for _, n := range s.Names {
					if n.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
						names = append(names, n.Name)
					}
				}
			}
		}
	}
	return names
}
