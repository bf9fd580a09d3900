// Receives signed calls from poller.
//
// WEBHOOK_KEYS='whsec_… whpk_…' go run .      several keys: the old and the new one, while one is being replaced
//
// A call is answered with 2xx only once its event is on disk. Do the work from there, later: the sender waits 15 seconds.
package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	largest   = 1 << 20
	tolerance = 5 * time.Minute // between the sender's clock and this one
)

type check func(headers http.Header, body []byte) bool

var id = regexp.MustCompile(`^[\w-]{1,128}$`)

// checkOf says what verifies calls with this key: the published library, and by hand what it does not know.
// A wrong key ends the start, instead of refusing every call.
func checkOf(key string) check {
	text, shared := strings.CutPrefix(key, "whsec_")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whpk_"))
	if err != nil || len(raw) < 24 || !shared && len(raw) != ed25519.PublicKeySize {
		log.Fatal("a key in WEBHOOK_KEYS is neither whsec_ nor whpk_, or is cut off")
	}
	if !shared {
		return func(headers http.Header, body []byte) bool { return byHand(raw, headers, body) }
	}
	webhook, _ := standardwebhooks.NewWebhookRaw(raw) // which never fails
	return func(headers http.Header, body []byte) bool { return webhook.Verify(body, headers) == nil }
}

// byHand verifies signatures v1a.
func byHand(key ed25519.PublicKey, headers http.Header, body []byte) bool {
	call, at := headers.Get("webhook-id"), headers.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if !id.MatchString(call) || err != nil || time.Since(time.Unix(seconds, 0)).Abs() > tolerance {
		return false
	}
	content := append([]byte(call+"."+at+"."), body...)
	for _, entry := range strings.Split(headers.Get("webhook-signature"), " ") {
		version, text, _ := strings.Cut(entry, ",")
		signature, err := base64.StdEncoding.DecodeString(text)
		if version == "v1a" && err == nil && ed25519.Verify(key, content, signature) {
			return true
		}
	}
	return false
}

// note writes one file for each id, whole or not there. The id comes again with every repetition, and the first file stays.
func note(inbox, call string, body []byte) error {
	if !id.MatchString(call) {
		return errors.New("an id that cannot name a file")
	}
	part, err := os.CreateTemp(inbox, "*.part")
	if err != nil {
		return err
	}
	defer os.Remove(part.Name())
	_, err = part.Write(body)
	if err = errors.Join(err, part.Sync(), part.Close()); err != nil {
		return err
	}
	if err = os.Link(part.Name(), filepath.Join(inbox, call+".json")); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	folder, err := os.Open(inbox)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

func receive(checks []check, inbox string, request *http.Request) int {
	if request.Method != http.MethodPost {
		return http.StatusMethodNotAllowed
	}
	if request.ContentLength < 0 || request.ContentLength > largest {
		return http.StatusRequestEntityTooLarge
	}
	body, err := io.ReadAll(request.Body) // the bytes as they came: parse them only after they were verified
	if err != nil {
		return http.StatusBadRequest
	}
	for _, genuine := range checks {
		if !genuine(request.Header, body) {
			continue
		}
		if err := note(inbox, request.Header.Get("webhook-id"), body); err != nil {
			log.Print("not noted: ", err)
			return http.StatusServiceUnavailable // it comes again
		}
		return http.StatusNoContent
	}
	return http.StatusUnauthorized
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func main() {
	var checks []check
	for _, key := range strings.Fields(os.Getenv("WEBHOOK_KEYS")) {
		checks = append(checks, checkOf(key))
	}
	if len(checks) == 0 {
		log.Fatal("WEBHOOK_KEYS names no key")
	}
	inbox := setting("INBOX", "inbox")
	if err := os.MkdirAll(inbox, 0o700); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(setting("HOST", "127.0.0.1"), setting("PORT", "8080")))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr().(*net.TCPAddr).Port)
	server := http.Server{ReadTimeout: time.Minute, Handler: http.HandlerFunc(
		func(response http.ResponseWriter, request *http.Request) {
			response.WriteHeader(receive(checks, inbox, request))
		})}
	log.Fatal(server.Serve(listener))
}
