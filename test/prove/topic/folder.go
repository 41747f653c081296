package topic

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/domain"
	"github.com/memlane/memlane/internal/meet"
)

// DomainName is the domain's name, in its folder.
const DomainName = "prove"

// Open opens the domain in a folder that is for nothing else.
func Open(folder string) (*memlane.Domain, error) {
	return memlane.Open(DomainName, &memlane.Config{Folder: folder})
}

// NewFolder makes a folder, on a tmpfs, if there is one.
func NewFolder() (string, error) {
	folder, err := os.MkdirTemp("/dev/shm", "memlane-prove-")
	if err != nil {
		folder, err = os.MkdirTemp("", "memlane-prove-")
	}
	return folder, err
}

// Swept opens the domain once more, which removes what the dead have left, and returns an
// error if there is then anything in its folder that is not of d, who is alone in it.
func Swept(d *memlane.Domain) error {
	again, err := Open(filepath.Dir(d.Folder()))
	if err != nil {
		return err
	}
	defer again.Close()
	entries, err := meet.List(d.Folder())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Instance != domain.Of(d).Node().ID() {
			return fmt.Errorf("something is left behind: %+v", e)
		}
	}
	sockets, err := os.ReadDir(filepath.Join(d.Folder(), "sockets"))
	if err == nil && len(sockets) != 2 {
		err = fmt.Errorf("%d sockets in the folder; want 2", len(sockets))
	}
	return err
}
