// Package bench measures: what the parts of a machine allow (limits_*.go), and
// what the engine makes of them. Each measurement is a Config with a method
// that returns figures; nothing here prints, and nothing is kept but what a
// Config asks for.
//
// A figure means something only beside the limit that was measured in the same
// run: machines differ from each other, and from themselves an hour ago. So
// bars are ratios, of medians of several runs; README.md has the method.
package bench
