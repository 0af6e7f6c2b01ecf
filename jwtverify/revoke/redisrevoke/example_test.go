package redisrevoke_test

import (
	"context"
	"log"
	"os"
	"time"

	"github.com/bearerguard/bearerguard/jwtverify"
	"github.com/bearerguard/bearerguard/jwtverify/revoke"
	"github.com/bearerguard/bearerguard/jwtverify/revoke/redisrevoke"
)

func ExampleFollower() {
	follower, err := redisrevoke.NewFollower(redisrevoke.FollowerConfig{
		Redis:      redisrevoke.Redis{URL: os.Getenv("REDIS_URL")}, // rediss://follower:password@redis.example.com:6379
		WhenBehind: redisrevoke.FailClosed,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer follower.Close()
	verifier, err := jwtverify.New(jwtverify.Config{
		Issuer:   "https://login.example.com",
		Audience: []string{"https://api.example.com"},
		Checks:   []func(context.Context, *jwtverify.Token) error{follower.Check},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer verifier.Close()
}

func ExamplePublisher() {
	publisher, err := redisrevoke.NewPublisher(redisrevoke.PublisherConfig{
		Redis: redisrevoke.Redis{URL: os.Getenv("REDIS_URL")}, // rediss://publisher:password@redis.example.com:6379
	})
	if err != nil {
		log.Fatal(err)
	}
	defer publisher.Close()

	// Alice changed her password, and tokens live an hour at most.
	now := time.Now()
	err = publisher.Revoke(context.Background(), revoke.Subject("https://login.example.com", "alice", now, now.Add(time.Hour)))
	if err != nil {
		log.Print("they are still let in: ", err)
	}
}
