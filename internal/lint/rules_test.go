package lint

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
)

// The limits of STYLE.md.
const (
	maxFunction   = 70 // lines
	maxParameters = 5
	maxFile       = 500 // lines
	maxInterface  = 5   // methods
)

// remedies say what to do about a broken rule.
var remedies = map[string]string{
	"function-lines": "a function is at most 70 lines: let the parent decide and helpers compute",
	"parameters":     "a function has at most 5 parameters: some of them are one thing that has no name yet",
	"file-lines":     "a file is at most 500 lines, one idea",
	"interface":      "an interface has at most 5 methods, and belongs to its caller",
	"init":           "no init(): pass what it sets up",
	"name":           "no util, common, helpers, base or types; no Manager, no GetX",
	"sleep":          "a test waits for an event, not for time",
	"variable":       "package variables are never changed, locked or pointed at: make it a field",
}

var rules = []func(*file, findings){judgeFunctions, judgeFile, judgeInterfaces, judgeNames, judgeSleep}

func judgeFunctions(f *file, found findings) {
	for _, d := range f.ast.Decls {
		d, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := f.span(d); n > maxFunction {
			found.add(n, "function-lines", f, funcName(d))
		}
		if n := parameters(d); n > maxParameters {
			found.add(n, "parameters", f, funcName(d))
		}
		if d.Name.Name == "init" && d.Recv == nil {
			found.add(1, "init", f, "init")
		}
	}
}

// parameters counts what a caller has to choose: not the context, which is its
// own.
func parameters(d *ast.FuncDecl) int {
	n := d.Type.Params.NumFields()
	if n > 0 {
		if t, ok := d.Type.Params.List[0].Type.(*ast.SelectorExpr); ok && t.Sel.Name == "Context" {
			n--
		}
	}
	return n
}

func judgeFile(f *file, found findings) {
	if f.lines > maxFile {
		found.add(f.lines, "file-lines", f, "-")
	}
}

// judgeInterfaces spares volume.Device: it is what a zoned disk offers.
func judgeInterfaces(f *file, found findings) {
	for _, s := range typeSpecs(f) {
		if i, ok := s.Type.(*ast.InterfaceType); ok && i.Methods.NumFields() > maxInterface && !(f.dir == "volume" && s.Name.Name == "Device") {
			found.add(i.Methods.NumFields(), "interface", f, s.Name.Name)
		}
	}
}

func typeSpecs(f *file) (specs []*ast.TypeSpec) {
	for _, d := range f.ast.Decls {
		if d, ok := d.(*ast.GenDecl); ok && d.Tok == token.TYPE {
			for _, s := range d.Specs {
				specs = append(specs, s.(*ast.TypeSpec))
			}
		}
	}
	return specs
}

var (
	badPackage = regexp.MustCompile(`^(util|utils|common|helper|helpers|base|types|misc|shared)$`)
	badFunc    = regexp.MustCompile(`^Get[A-Z]`)
)

func judgeNames(f *file, found findings) {
	if badPackage.MatchString(f.ast.Name.Name) {
		found.add(1, "name", f, f.ast.Name.Name)
	}
	for _, s := range typeSpecs(f) {
		if strings.HasSuffix(s.Name.Name, "Manager") {
			found.add(1, "name", f, s.Name.Name)
		}
	}
	for _, d := range f.ast.Decls {
		if d, ok := d.(*ast.FuncDecl); ok && badFunc.MatchString(d.Name.Name) && !f.test {
			found.add(1, "name", f, funcName(d))
		}
	}
}

// judgeSleep spares the drills: real processes are killed by the clock.
func judgeSleep(f *file, found findings) {
	if !f.test || f.dir == "internal/drills" {
		return
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Sleep" {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" {
				found["sleep "+f.path+" time.Sleep"]++
			}
		}
		return true
	})
}

// judgeVariables looks for package variables that some code of the package
// assigns to, takes the address of, or that hold a lock or an atomic.
func judgeVariables(files []file, found findings) {
	byDir := map[string][]*file{}
	for i := range files {
		if !files[i].test {
			byDir[files[i].dir] = append(byDir[files[i].dir], &files[i])
		}
	}
	for _, pkg := range byDir {
		vars := map[string]*file{}
		for _, f := range pkg {
			packageVars(f, vars, found)
		}
		for _, f := range pkg {
			ast.Inspect(f.ast, func(n ast.Node) bool {
				for _, x := range changed(n) {
					if at := vars[x.Name]; at != nil && isPackageLevel(f, x) {
						found.add(1, "variable", at, x.Name)
					}
				}
				return true
			})
		}
	}
}

// packageVars adds the package variables of f to vars, and those that are
// mutable by their type to found.
func packageVars(f *file, vars map[string]*file, found findings) {
	for _, d := range f.ast.Decls {
		d, ok := d.(*ast.GenDecl)
		if !ok || d.Tok != token.VAR {
			continue
		}
		for _, s := range d.Specs {
			s := s.(*ast.ValueSpec)
			for _, n := range s.Names {
				if n.Name == "_" {
					continue
				}
				vars[n.Name] = f
				if t, ok := s.Type.(*ast.SelectorExpr); ok && mutableType(t) {
					found.add(1, "variable", f, n.Name)
				}
			}
		}
	}
}

func mutableType(t *ast.SelectorExpr) bool {
	x, ok := t.X.(*ast.Ident)
	return ok && (x.Name == "sync" || x.Name == "atomic")
}

// changed returns the variables that a statement or expression may change.
func changed(n ast.Node) (ids []*ast.Ident) {
	var targets []ast.Expr
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			targets = n.Lhs
		}
	case *ast.IncDecStmt:
		targets = []ast.Expr{n.X}
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			targets = []ast.Expr{n.Key, n.Value}
		}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			targets = []ast.Expr{n.X}
		}
	}
	for _, x := range targets {
		if id := leftmost(x); id != nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// leftmost returns the variable that an expression like v.f[i] is part of.
func leftmost(x ast.Expr) *ast.Ident {
	for {
		switch y := x.(type) {
		case *ast.Ident:
			return y
		case *ast.IndexExpr:
			x = y.X
		case *ast.SelectorExpr:
			x = y.X
		case *ast.ParenExpr:
			x = y.X
		case *ast.SliceExpr:
			x = y.X
		default:
			return nil
		}
	}
}

// isPackageLevel reports whether a name means the package's variable: it is
// declared at the top of this file, or not in this file at all.
func isPackageLevel(f *file, x *ast.Ident) bool {
	if x.Obj == nil {
		return !slices.ContainsFunc(f.ast.Imports, func(i *ast.ImportSpec) bool {
			path := strings.Trim(i.Path.Value, `"`)
			return path[strings.LastIndex(path, "/")+1:] == x.Name
		})
	}
	return f.ast.Scope.Lookup(x.Name) == x.Obj
}
