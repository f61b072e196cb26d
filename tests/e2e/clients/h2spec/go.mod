module h2spec

go 1.19

require (
	github.com/summerwind/h2spec v2.2.1+incompatible
	github.com/fatih/color v1.13.0
	github.com/mattn/go-colorable v0.1.12
	github.com/mattn/go-isatty v0.0.14
	github.com/spf13/cobra v1.6.1
	golang.org/x/net v0.10.0
	golang.org/x/sys v0.8.0
	golang.org/x/text v0.9.0
	golang.org/x/crypto v0.9.0
	gopkg.in/yaml.v2 v2.4.0
)
