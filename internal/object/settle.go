package object

import (
	"context"
	"errors"

	"github.com/holdall/holdall"
)

// settleTries is how often a commit asks what it comes to: people take steps of
// migrations, so a second one during one commit is rare.
const settleTries = 4

// commit commits with what s says, which is asked again where that was void.
func (s Settle) commit(ctx context.Context, do func(Settled) error) error {
	if s == nil {
		return do(Settled{})
	}
	var err error
	for range settleTries {
		var how Settled
		if how, err = s(ctx); err != nil {
			return err
		}
		if err = do(how); !errors.Is(err, holdall.ErrStale) {
			return err
		}
	}
	return err
}
