"""How fast `simulate` is, and how true: beside a bare HTTP loop, and beside the server's own clock."""
