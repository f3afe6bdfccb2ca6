// vcsim is a vCenter for tests: the simulator of VMware's own library for Go, with the login app and hunter2. The simulator throws disks away;
// here they are kept, each as a file of its name in a directory.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// slow takes its time for every piece.
type slow struct {
	io.Reader
	pause time.Duration
}

func (from slow) Read(to []byte) (int, error) {
	time.Sleep(from.pause)
	return from.Reader.Read(to)
}

func main() {
	disks := flag.String("disks", ".", "where disks are kept")
	certificate := flag.String("certificate", "", "speak TLS with this certificate and its key, in PEM")
	datastores := flag.Int("datastores", 1, "how many there are")
	pause := flag.Duration("pause", 0, "how long every piece of a disk takes")
	flag.Parse()

	model := simulator.VPX()
	model.Datastore = *datastores
	check(model.Create())
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword("app", "hunter2")}
	if *certificate != "" {
		pair, err := tls.LoadX509KeyPair(*certificate, *certificate)
		check(err)
		model.Service.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	server := model.Service.NewServer()
	served := server.Config.Handler
	server.Config.Handler = http.HandlerFunc(func(answer http.ResponseWriter, asked *http.Request) {
		if strings.HasPrefix(asked.URL.Path, "/nfc/") {
			file, err := os.Create(path.Join(*disks, path.Base(asked.URL.Path)))
			check(err)
			asked.Body = io.NopCloser(slow{io.TeeReader(asked.Body, file), *pause})
			defer file.Close()
		}
		served.ServeHTTP(answer, asked)
	})
	fmt.Println("listens on", server.URL.Port())
	select {}
}
