// Package holdallv1 is the generated code of the gRPC services of a Holdall
// cell: block.proto is what users call, admin.proto what operators call. It
// holds nothing written by hand; `go run -C tools ./protogen` writes it anew.
package holdallv1
