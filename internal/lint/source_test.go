package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	pathpkg "path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const (
	module = "github.com/holdall/holdall"
	root   = "../.."
)

// file is one Go file of the module that people write.
type file struct {
	path  string // from the root of the module
	dir   string // of its package; "." = the root
	test  bool
	lines int
	ast   *ast.File
	set   *token.FileSet
}

// load returns every Go file of the module. Generated code and the tools module,
// which is another one, are left out.
func load(t *testing.T) []file {
	t.Helper()
	files, err := source()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("found %d files under %s: the rules would judge nothing", len(files), root)
	}
	return files
}

// source reads the files once for all tests.
var source = sync.OnceValues(func() (files []file, err error) {
	set := token.NewFileSet()
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() && rel != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || rel == "tools") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parse(set, filepath.ToSlash(rel), string(src))
		if err == nil && !ast.IsGenerated(f.ast) {
			files = append(files, f)
		}
		return err
	})
	return files, err
})

func parse(set *token.FileSet, path, src string) (file, error) {
	f, err := parser.ParseFile(set, path, src, parser.ParseComments)
	return file{path, pathpkg.Dir(path), strings.HasSuffix(path, "_test.go"), strings.Count(src, "\n"), f, set}, err
}

// where says where a node is, for a message.
func (f *file) where(n ast.Node) string { return f.set.Position(n.Pos()).String() }

// span returns the number of lines of a node.
func (f *file) span(n ast.Node) int {
	return f.set.Position(n.End()).Line - f.set.Position(n.Pos()).Line + 1
}

// funcName returns "Name" or "Type.Name".
func funcName(d *ast.FuncDecl) string {
	if r := receiver(d); r != "" {
		return r + "." + d.Name.Name
	}
	return d.Name.Name
}

// receiver returns the name of a method's type, "" for a function.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return ""
	}
	x := d.Recv.List[0].Type
	for {
		switch y := x.(type) {
		case *ast.StarExpr:
			x = y.X
		case *ast.IndexExpr:
			x = y.X
		case *ast.IndexListExpr:
			x = y.X
		case *ast.Ident:
			return y.Name
		default:
			return ""
		}
	}
}
