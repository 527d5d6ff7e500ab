// Package sim is a whole cell in one process, in memory, for tests: the real
// gateway, volume servers and metadata over disks that fail on request. It owns
// the lives and deaths of these parts, and a model of what a cell promises. It
// holds no logic of a cell itself and touches no file or network.
package sim
