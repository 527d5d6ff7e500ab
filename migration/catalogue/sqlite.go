package catalogue

import _ "modernc.org/sqlite" // the driver
