module ferrule/conformance

go 1.24
