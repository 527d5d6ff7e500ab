// Package door stands where callers put and get the objects of buckets that are on
// their way between two stores: it writes to both, reads from the one that decides,
// and lets a step from state to state happen between two calls, never within one.
// What a write comes to package ledger says; who may write, metadata. It keeps
// nothing that outlives a call.
//
// Reading order: door.go, call.go, put.go, settle.go (what a write comes to), read.go;
// then delete.go, upload.go, complete.go, list.go, shadow.go, steps.go; beneath them
// tee.go and held.go (one body, two
// stores), keys.go (one writer a key), gate.go (calls and steps).
package door
