// Package drills rehearses failures on the real binary: it starts `holdall
// serve` as a process, loads it, kills it, takes disks away, corrupts and fills
// them, and checks that nothing acknowledged is lost. It has only tests.
//
// By default each drill runs a short form. With -full it runs the lengths and
// sizes that the acceptance criteria name:
//
//	go test ./internal/drills -full -v -timeout 60m
package drills
