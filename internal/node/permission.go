package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// permission returns err with what to do, where this user may not use what lies
// at path; other errors it leaves alone. Errors of disks carry the system's
// words and not its error, so that nobody takes EACCES of one file for a kind.
func permission(path string, err error) error {
	if err == nil || !errors.Is(err, fs.ErrPermission) && !strings.Contains(err.Error(), syscall.EACCES.Error()) {
		return err
	}
	uid := os.Geteuid()
	if strings.Contains(err.Error(), fmt.Sprintf("uid %d", uid)) {
		return err // it says so itself
	}
	return fmt.Errorf("%w; %s must be readable and writable for uid %d, who runs this: `chown -R %d %s`, or run it as the owner", err, path, uid, uid, path)
}

// mayUse refuses what cannot be used as a disk, before metadata is made and any
// disk is formatted: a first start that fails half-way leaves disks that no
// other cell takes.
func (n *Node) mayUse(s *slot) error {
	if err := makeDiskDir(s.Path); err != nil {
		return err
	}
	dev, err := n.openDevice(s.Path, n.newZone)
	if err != nil {
		return permission(s.Path, err)
	}
	return dev.Close()
}
