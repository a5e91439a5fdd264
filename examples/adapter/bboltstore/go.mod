module github.com/khodnevis/khodnevis/examples/adapter/bboltstore

go 1.26.0

require (
	github.com/khodnevis/khodnevis v0.0.0
	go.etcd.io/bbolt v1.5.0
)

require (
	github.com/google/uuid v1.6.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/khodnevis/khodnevis => ../../..
