//go:build !linux

package main

import "log"

func main() {
	log.Fatal("faultlab: it needs Linux: it freezes processes, mounts disks and reads /proc")
}
