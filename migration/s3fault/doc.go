// Package s3fault is an HTTP proxy in front of an S3 server that spoils some of
// what passes, by plan: refusals, resets, stalls, cut and corrupted bodies, wrong
// headers, objects that change meanwhile, writes that land late. It owns the
// decision which request is spoiled, which depends on a seed, the request and how
// often that request was made, never on the clock or on what else is in flight.
// It never changes a request that it forwards, so signatures hold.
//
// It is for tests, which is why its one lie, FalseNotFound, is a kind that has to
// be asked for by name: an S3 server never says "not found" of what it has.
package s3fault
