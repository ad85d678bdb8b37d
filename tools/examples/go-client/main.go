// An example client of Canopy's wire protocol in Go. It dials the daemon's Unix socket and says Hello, pings, delivers a
// message, logs in as its recipient, lists the INBOX and fetches the messages, and prints what it got.
//
// Everything it needs is public: a ttrpc client (github.com/containerd/ttrpc) and the messages that protoc generated
// from daemon/wire/canopy.proto. build.sh builds it.
package main

import (
	"context"
	"crypto/rand"
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

func run(socket, account, password, role string) error {
	conn, err := net.Dial("unix", socket)
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
	socket := flag.String("socket", "/run/canopy/canopyd.sock", "the daemon's Unix socket")
	account := flag.String("account", "", "deliver to, and log in as, this account (name@domain)")
	password := flag.String("password", "", "the account's password")
	role := flag.String("role", "frontend", "the role to take")
	flag.Parse()
	if err := run(*socket, *account, *password, *role); err != nil {
		fmt.Fprintln(os.Stderr, "go-client:", err)
		os.Exit(1)
	}
}
