// Package lint holds the house rules that a machine can judge, as tests: who may
// import whom, one door per dependency, comments, sizes, names. It reads the
// source of this module with go/parser and never runs it or writes to it (save
// allowed.txt, with -lower).
//
// Where the code breaks a rule of size or shape already, allowed.txt lists the
// place. The list is a ratchet: an entry may be lowered or removed, never added
// or raised.
package lint
