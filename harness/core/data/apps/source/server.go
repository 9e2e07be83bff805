// A small HTTP server: requests are goroutines, which count together over a channel.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

func fibonacci(n int) *big.Int {
	a, b := big.NewInt(0), big.NewInt(1)
	for i := 0; i < n; i++ {
		a.Add(a, b)
		a, b = b, a
	}
	return a
}

// primes below n, counted in parts by goroutines of their own.
func primes(n int) int {
	const parts = 4
	counts := make(chan int, parts)
	var all sync.WaitGroup
	for part := 0; part < parts; part++ {
		all.Add(1)
		go func(part int) {
			defer all.Done()
			count := 0
			for i := 2 + part; i < n; i += parts {
				if big.NewInt(int64(i)).ProbablyPrime(0) {
					count++
				}
			}
			counts <- count
		}(part)
	}
	all.Wait()
	close(counts)
	total := 0
	for count := range counts {
		total += count
	}
	return total
}

func number(request *http.Request, prefix string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(request.URL.Path, prefix))
	return n
}

func main() {
	http.HandleFunc("/fibonacci/", func(out http.ResponseWriter, request *http.Request) {
		n := number(request, "/fibonacci/")
		json.NewEncoder(out).Encode(map[string]interface{}{"n": n, "value": fibonacci(n)})
	})
	http.HandleFunc("/primes/", func(out http.ResponseWriter, request *http.Request) {
		fmt.Fprintln(out, primes(number(request, "/primes/")))
	})
	http.HandleFunc("/sha256/", func(out http.ResponseWriter, request *http.Request) {
		fmt.Fprintf(out, "%x\n", sha256.Sum256([]byte(strings.TrimPrefix(request.URL.Path, "/sha256/"))))
	})
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	go func() {
		<-asked
		os.Exit(0)
	}()
	fmt.Println(http.ListenAndServe("0.0.0.0:8000", nil))
	os.Exit(1)
}
