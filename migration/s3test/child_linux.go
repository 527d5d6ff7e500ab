package s3test

import "syscall"

// dieWithParent lets the kernel end the server when this process is killed, so
// that a test that times out leaves none behind.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
