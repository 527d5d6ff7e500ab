package source

import (
	"fmt"
	"io"
	"strings"
)

// Secret is text that is never printed: every way of formatting it gives ***.
// Reveal is the only way to its value.
type Secret struct{ value string }

// hidden is what is printed for a Secret.
const hidden = "***"

// NewSecret hides a value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the value, to whoever has to send it.
func (s Secret) Reveal() string { return s.value }

// String returns ***.
func (Secret) String() string { return hidden }

// Format prints ***, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText makes a Secret *** in JSON and TOML too.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// scrub takes secrets out of a text that somebody else wrote, as a server's
// message.
func scrub(text string, secrets []Secret) string {
	for _, s := range secrets {
		if s.value != "" {
			text = strings.ReplaceAll(text, s.value, hidden)
		}
	}
	return text
}
