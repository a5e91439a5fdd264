// Command faultlab runs the bundled server as processes, breaks what it stands on, and checks from
// outside what it promises.
//
//	go run . -stack embedded -seed 7 -seconds 60     one run on one file
//	go run . -stack services -seed 7 -seconds 60     two API servers and two workers on PostgreSQL, Kafka and Redis
//	go run . -plants                                 builds with a bug on purpose: each must be caught
//	go run . -syncs                                  one sync of the disk at least for every commit that was acknowledged
//
// README.md says what is checked and how to read a failure.
package main
