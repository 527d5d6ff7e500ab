// Package catalogue keeps what was found in a bucket in one SQLite file that
// anyone can query: every version of every object, unfinished uploads, and how far
// the listing has come, so that it goes on after a kill. It owns the file and its
// schema, docs/format/catalogue.md; it never talks to a server.
//
// It is the door to SQLite. Nothing in it grows with the number of objects but the
// file.
package catalogue
