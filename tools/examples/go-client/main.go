// An example client of Canopy's wire protocol in Go. It dials the daemon (its Unix socket, or TCP with TLS and a
// certificate that `canopyctl pki issue --role frontend` made) and says Hello, pings, delivers a
// message, logs in as its recipient, lists the INBOX and fetches the messages, and prints what it got.
//
// Everything it needs is public: a ttrpc client (github.com/containerd/ttrpc) and the messages that protoc generated
// from daemon/wire/canopy.proto. build.sh builds it.
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/containerd/ttrpc"
	"github.com/gogo/protobuf/proto"
	"google.golang.org/grpc/status"

	pb "canopy.example/canopyv1"
)

// A call has at most this long; the daemon is told.
const timeout = 10 * time.Second

type canopy struct {
	rpc *ttrpc.Client
}

func (c canopy) call(service, method string, request, response proto.Message) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	err := c.rpc.Call(ctx, "canopy.v1."+service, method, request, response)
	if err != nil {
		return fmt.Errorf("%s.%s: %s", service, method, describe(err))
	}
	return nil
}

// describe finds Canopy's own Error in the status of a failed call: its first detail (docs/protocol/errors.md).
func describe(err error) string {
	st, ok := status.FromError(err)
	if !ok {
		return err.Error()
	}
	for _, detail := range st.Proto().GetDetails() {
		if detail.GetTypeUrl() != "type.googleapis.com/canopy.v1.Error" {
			continue
		}
		var e pb.Error
		if proto.Unmarshal(detail.GetValue(), &e) == nil {
			return fmt.Sprintf("%s: %s (%s, retryable %v)", e.Object, e.Message, e.Name, e.Retryable)
		}
	}
	return st.Message()
}

// requestID makes a resend harmless: the daemon answers the first result again.
func requestID() []byte {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		panic(err)
	}
	return id
}

// target is where the daemon listens. With address set it is TCP, and the other three are PEM files.
type target struct {
	socket, address, ca, cert, key string
}

func (t target) dial() (net.Conn, error) {
	if t.address == "" {
		return net.Dial("unix", t.socket)
	}
	ca, err := os.ReadFile(t.ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s holds no certificate", t.ca)
	}
	own, err := tls.LoadX509KeyPair(t.cert, t.key)
	if err != nil {
		return nil, err
	}
	return tls.Dial("tcp", t.address, &tls.Config{
		RootCAs:      roots,
		Certificates: []tls.Certificate{own},
		MinVersion:   tls.VersionTLS13,
	})
}

func run(to target, account, password, role string) error {
	conn, err := to.dial()
	if err != nil {
		return err
	}
	c := canopy{rpc: ttrpc.NewClient(conn)}
	defer c.rpc.Close()

	var hello pb.HelloResponse
	err = c.call("Session", "Hello", &pb.HelloRequest{Client: "go-example/0.1", Version: 1, Role: role}, &hello)
	if err != nil {
		return err
	}
	fmt.Printf("hello: %s, protocol %d, role %s, messages up to %d bytes\n",
		hello.Server, hello.Version, hello.Role, hello.Limits.GetMessageBytesMax())

	var pong pb.PingResponse
	begin := time.Now()
	if err = c.call("Session", "Ping", &pb.PingRequest{Payload: []byte("are you there")}, &pong); err != nil {
		return err
	}
	fmt.Printf("ping: %q in %v\n", pong.Payload, time.Since(begin).Round(time.Microsecond))
	if account == "" {
		return nil
	}
	return deliverAndRead(c, account, password)
}

func deliverAndRead(c canopy, account, password string) error {
	subject := fmt.Sprintf("from Go at %d", time.Now().UnixNano())
	content := "From: go@example.org\r\nTo: " + account + "\r\nSubject: " + subject + "\r\n\r\nHello from Go.\r\n"
	var delivered pb.DeliverResponse
	err := c.call("Mailboxes", "Deliver", &pb.DeliverRequest{
		Recipients: []*pb.Recipient{{Address: account, RequestId: requestID()}},
		Content:    []byte(content),
		ReturnPath: "go@example.org",
	}, &delivered)
	if err != nil {
		return err
	}
	for _, result := range delivered.Results {
		if result.Error != nil {
			return fmt.Errorf("deliver: %s: %s", result.Error.Object, result.Error.Message)
		}
		fmt.Printf("deliver: %s has it as UID %d\n", result.Account, result.Uid)
	}

	var session pb.AuthenticateResponse
	err = c.call("Session", "Authenticate", &pb.AuthenticateRequest{
		Mechanism: "PLAIN",
		Response:  []byte("\x00" + account + "\x00" + password),
		Protocol:  "go-example",
	}, &session)
	if err != nil {
		return err
	}
	fmt.Printf("authenticate: %s, ticket of %d bytes\n", session.Account, len(session.Ticket))
	user := &pb.AccountRef{Name: session.Account, Ticket: session.Ticket}

	var list pb.ListMessagesResponse
	err = c.call("Mailboxes", "ListMessages", &pb.ListMessagesRequest{Account: user, Mailbox: "INBOX"}, &list)
	if err != nil {
		return err
	}
	fmt.Printf("list: %d messages, UIDVALIDITY %d\n", len(list.Messages), list.UidValidity)
	uids := make([]uint32, 0, len(list.Messages))
	for _, message := range list.Messages {
		uids = append(uids, message.Uid)
	}
	return fetchAll(c, user, uids, subject)
}

// fetchAll asks for what is missing until everything is there: an answer holds as many messages as fit.
func fetchAll(c canopy, user *pb.AccountRef, uids []uint32, subject string) error {
	found := false
	for len(uids) > 0 {
		var fetched pb.FetchManyResponse
		err := c.call("Mailboxes", "FetchMany",
			&pb.FetchManyRequest{Account: user, Mailbox: "INBOX", Uids: uids}, &fetched)
		if err != nil {
			return err
		}
		if len(fetched.Messages) == 0 {
			break // the rest was expunged meanwhile
		}
		for _, message := range fetched.Messages {
			if message.Error != nil {
				return fmt.Errorf("fetch: UID %d: %s", message.Uid, message.Error.Message)
			}
			fmt.Printf("fetch: UID %d, %d bytes\n", message.Uid, len(message.Content))
			found = found || strings.Contains(string(message.Content), "Subject: "+subject+"\r\n")
		}
		last := fetched.Messages[len(fetched.Messages)-1].Uid
		for len(uids) > 0 && uids[0] != last {
			uids = uids[1:]
		}
		if len(uids) > 0 {
			uids = uids[1:]
		}
	}
	if !found {
		return fmt.Errorf("the message that was delivered is not in the INBOX")
	}
	fmt.Println("the message that was delivered came back")
	return nil
}

func main() {
	var to target
	flag.StringVar(&to.socket, "socket", "/run/canopy/canopyd.sock", "the daemon's Unix socket")
	flag.StringVar(&to.address, "address", "", "HOST:PORT, for TLS in place of the socket")
	flag.StringVar(&to.ca, "ca", "", "with -address: the CA that signed the daemon's certificate, in PEM")
	flag.StringVar(&to.cert, "cert", "", "with -address: the own certificate, in PEM")
	flag.StringVar(&to.key, "key", "", "with -address: its private key, in PEM")
	account := flag.String("account", "", "deliver to, and log in as, this account (name@domain)")
	password := flag.String("password", "", "the account's password")
	role := flag.String("role", "frontend", "the role to take")
	flag.Parse()
	if err := run(to, *account, *password, *role); err != nil {
		fmt.Fprintln(os.Stderr, "go-client:", err)
		os.Exit(1)
	}
}
