// Package wire is the gRPC front of a cell: it makes calls of requests and
// requests' answers of results. It owns the limits that hold before anything
// else is asked (connections, streams, sizes, time, who may call what), the
// mapping of error kinds to codes (whose table is in package client, which reads
// it the other way), and the health and reflection services. It never touches
// blocks beyond handing their bytes on, and keeps no state but connections.
//
// Reading order: server.go (what is set up), methods.go (who may call what),
// admit.go (what happens at the headers), call.go (a call's life), blocks.go,
// objects.go with object_put.go and object_get.go, admin.go and namespaces.go (the
// services), object_check.go (what requests may say), encode.go and
// object_encode.go (facts to messages).
package wire
