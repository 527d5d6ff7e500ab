// Command protogen writes the Go code of this repository's .proto files. It is
// what `buf generate` would be, in the only part of it that is needed here: it
// compiles the files with protocompile and hands the descriptors to
// protoc-gen-go and protoc-gen-go-grpc, which the same go.mod pins.
//
//	go run -C tools ./protogen            # writes proto/
//	go run -C tools ./protogen -check     # fails when proto/ is not what it would write
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	root := flag.String("root", "..", "the repository")
	check := flag.Bool("check", false, "write nothing; fail when a generated file differs")
	flag.Parse()
	if err := run(*root, *check); err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

func run(root string, check bool) error {
	dir := filepath.Join(root, "proto")
	sources, err := filepath.Glob(filepath.Join(dir, "holdall", "*", "*.proto"))
	if err != nil || len(sources) == 0 {
		return fmt.Errorf("no .proto files under %s (%w)", dir, err)
	}
	for i, s := range sources {
		if sources[i], err = filepath.Rel(dir, s); err != nil {
			return err
		}
	}
	request, err := compile(dir, sources)
	if err != nil {
		return err
	}
	want := map[string]string{} // path under dir → contents
	for _, plugin := range []string{"protoc-gen-go", "protoc-gen-go-grpc"} {
		if err := generate(plugin, request, want); err != nil {
			return err
		}
	}
	have, err := filepath.Glob(filepath.Join(dir, "holdall", "*", "*.pb.go"))
	if err != nil {
		return err
	}
	for _, path := range have {
		if name, _ := filepath.Rel(dir, path); want[name] == "" {
			return fmt.Errorf("%s has no .proto file: remove it", path)
		}
	}
	for name, text := range want {
		path := filepath.Join(dir, name)
		old, _ := os.ReadFile(path)
		switch {
		case string(old) == text:
		case check:
			return fmt.Errorf("%s is not what its .proto file says: run `go run -C tools ./protogen`", path)
		default:
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// compile returns the request that protoc would make of the sources.
func compile(dir string, sources []string) (*pluginpb.CodeGeneratorRequest, error) {
	c := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}}),
		SourceInfoMode: protocompile.SourceInfoStandard, // comments become Go comments
	}
	files, err := c.Compile(context.Background(), sources...)
	if err != nil {
		return nil, err
	}
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: sources, Parameter: proto.String("paths=source_relative")}
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) { // imports first, as plugins want them
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		request.ProtoFile = append(request.ProtoFile, descriptor(f))
	}
	for _, f := range files {
		add(f)
	}
	return request, nil
}

// descriptor returns f's own descriptor where it has one, as that carries the
// comments.
func descriptor(f protoreflect.FileDescriptor) *descriptorpb.FileDescriptorProto {
	if r, ok := f.(linker.Result); ok {
		return r.FileDescriptorProto()
	}
	return protodesc.ToFileDescriptorProto(f)
}

// generate runs a plugin of this module and adds the files that it answers.
func generate(plugin string, request *pluginpb.CodeGeneratorRequest, files map[string]string) error {
	in, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "tool", plugin)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", plugin, err)
	}
	var answer pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &answer); err != nil {
		return fmt.Errorf("%s: its answer is not a CodeGeneratorResponse: %w", plugin, err)
	}
	if answer.Error != nil {
		return fmt.Errorf("%s: %s", plugin, *answer.Error)
	}
	for _, f := range answer.File {
		files[f.GetName()] = f.GetContent()
	}
	return nil
}
