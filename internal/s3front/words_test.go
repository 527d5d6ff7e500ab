package s3front_test

import (
	"fmt"
	"strconv"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

func hexSize(n int) string { return fmt.Sprintf("%x\r\n", n) }

func now() time.Time { return time.Now().UTC() }
