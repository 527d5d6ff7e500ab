package catalogue

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The page that others rely on has the schema as it is made.
func TestSchemaIsDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "format", "catalogue.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```sql\n"+schema+"```\n") {
		t.Error("docs/format/catalogue.md does not have schema.sql, byte for byte")
	}
	for _, fact := range []string{FactVersion, FactBucket, FactPrefix, FactEndpoint, FactSource, FactVersioning, FactUploads, FactBegan, FactFinished} {
		if !strings.Contains(string(page), "`"+fact+"`") {
			t.Errorf("docs/format/catalogue.md does not explain the fact %s", fact)
		}
	}
}
