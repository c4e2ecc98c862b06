// What a program that uses Go `rocketmq-client-go` v2 relies on. One scenario a process; see `run`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

var (
	namesrv = flag.String("namesrv", "", "")
	topic   = flag.String("topic", "", "")
	_       = flag.String("against", "", "")
	_       = flag.String("broker", "", "")
)

// On servers with access control.
var (
	right   = primitive.Credentials{AccessKey: "alice", SecretKey: "secretOfAlice"}
	wrong   = primitive.Credentials{AccessKey: "alice", SecretKey: "another secret"}
	unknown = primitive.Credentials{AccessKey: "eve", SecretKey: "secretOfAlice"}
)

var scenarios = map[string]func() error{
	"send-and-consume":   func() error { return sendAndConsume(nil) },
	"access-right-key":   func() error { return sendAndConsume(&right) },
	"access-wrong-key":   func() error { return nothingIsSent(&wrong) },
	"access-unknown-key": func() error { return nothingIsSent(&unknown) },
	"access-no-key":      func() error { return nothingIsSent(nil) },
}

func startProducer(key *primitive.Credentials) (rocketmq.Producer, error) {
	options := []producer.Option{
		producer.WithNsResolver(primitive.NewPassthroughResolver([]string{*namesrv})),
		producer.WithGroupName(*topic + "-producer"),
		producer.WithRetry(0),
	}
	if key != nil {
		options = append(options, producer.WithCredentials(*key))
	}
	made, err := rocketmq.NewProducer(options...)
	if err != nil {
		return nil, err
	}
	return made, made.Start()
}

// Messages of all kinds of bodies come once, as they were sent.
func sendAndConsume(key *primitive.Credentials) error {
	sender, err := startProducer(key)
	if err != nil {
		return err
	}
	options := []consumer.Option{
		consumer.WithNsResolver(primitive.NewPassthroughResolver([]string{*namesrv})),
		consumer.WithGroupName(*topic + "-group"),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}
	if key != nil {
		options = append(options, consumer.WithCredentials(*key))
	}
	receiver, err := rocketmq.NewPushConsumer(options...)
	if err != nil {
		return err
	}
	got := make(chan string, 100)
	listen := func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, message := range messages {
			got <- message.GetTags() + " " + message.GetKeys() + " " + string(message.Body)
		}
		return consumer.ConsumeSuccess, nil
	}
	if err := receiver.Subscribe(*topic, consumer.MessageSelector{}, listen); err != nil {
		return err
	}
	if err := receiver.Start(); err != nil {
		return err
	}
	wanted := map[string]bool{}
	for n, body := range []string{"hello", "你好", "a\x00b"} {
		message := primitive.NewMessage(*topic, []byte(body)).WithTag("T").WithKeys([]string{fmt.Sprint("键", n)})
		sent, err := sender.SendSync(context.Background(), message)
		if err != nil {
			return err
		}
		if sent.Status != primitive.SendOK {
			return fmt.Errorf("a send was answered %v", sent.Status)
		}
		wanted["T "+message.GetKeys()+" "+body] = true
	}
	deadline := time.After(60 * time.Second)
	for len(wanted) > 0 {
		select {
		case message := <-got:
			if !wanted[message] {
				return fmt.Errorf("consumed %q, which was not sent, or twice", message)
			}
			delete(wanted, message)
		case <-deadline:
			return fmt.Errorf("within 60 s these were not consumed: %v", wanted)
		}
	}
	if err := receiver.Shutdown(); err != nil {
		return err
	}
	return sender.Shutdown()
}

// A send is refused, and says so.
func nothingIsSent(key *primitive.Credentials) error {
	sender, err := startProducer(key)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	sent, err := sender.SendSync(ctx, primitive.NewMessage(*topic, []byte("not signed as it should be")))
	if err == nil && sent != nil && sent.Status == primitive.SendOK {
		return errors.New("it was sent")
	}
	fmt.Fprintf(os.Stderr, "refused: %v %v\n", err, sent)
	return nil
}

func main() {
	flag.Parse()
	rlog.SetLogLevel("warn")
	name := flag.Arg(0)
	scenario, known := scenarios[name]
	if !known {
		fmt.Printf("FAIL %s: there is no such scenario\n", name)
		return
	}
	if err := scenario(); err != nil {
		fmt.Printf("FAIL %s: %v\n", name, err)
		return
	}
	fmt.Printf("PASS %s\n", name)
	// The client's threads are still there.
	os.Exit(0)
}
