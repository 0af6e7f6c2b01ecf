package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// What the clients are configured with; for tests on loopback alone, and the Go
// side knows it too.
const (
	secret = "not-a-secret"
	// A scope asks for an API, a project in ZITADEL's words, with its name between these.
	projectScope, audienceEnd = "urn:zitadel:iam:org:project:id:", ":aud"
	// This one asks for the roles in each of those.
	rolesScope = "urn:zitadel:iam:org:projects:roles"
)

// projects are the clients of APIs, which may introspect, and the project of each.
var projects = map[string]string{
	"rs":         "https://api.example.test/orders",
	"rs-billing": "https://api.example.test/billing",
}

// store is the package's example store, with the keys of a ring, two service
// clients, and the audiences, roles and introspection answers of ZITADEL.
type store struct {
	example
	*ring

	mu   sync.Mutex
	made map[string]made // access tokens, by their jti
}

// made is what the package's example does not keep of an access token.
type made struct {
	audience []string
	expiry   time.Time
}

// example stands one level below the ring, so that the ring's methods win.
type example struct{ *storage.Storage }

func newStore(issuer, relyingParty string, keys *ring) *store {
	clients := map[string]*storage.Client{
		"web": storage.WebClient("web", secret, relyingParty+"/cb"),
	}
	for id := range projects {
		clients[id] = storage.WebClient(id, secret)
	}
	return &store{
		example: example{storage.NewStorageWithClients(storage.NewUserStore(issuer), clients)}, ring: keys, made: map[string]made{},
	}
}

// service is a client without users; its tokens are JWTs or opaque.
type service struct {
	*storage.Client
	id   string
	kind op.AccessTokenType
}

func (s service) GetID() string                       { return s.id }
func (s service) AccessTokenType() op.AccessTokenType { return s.kind }
func (s service) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeClientCredentials}
}

// web is the client of users, who get JWTs too.
type web struct{ op.Client }

func (web) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }
func (web) IsScopeAllowed(string) bool          { return true }

func (s *store) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	switch id {
	case "svc":
		return service{storage.WebClient(id, secret), id, op.AccessTokenTypeJWT}, nil
	case "svc-opaque":
		return service{storage.WebClient(id, secret), id, op.AccessTokenTypeBearer}, nil
	}
	client, err := s.Storage.GetClientByClientID(ctx, id)
	return web{client}, err
}

func (s *store) ClientCredentials(ctx context.Context, id, given string) (op.Client, error) {
	client, err := s.GetClientByClientID(ctx, id)
	if err != nil || given != secret {
		return nil, errors.New("the client or its secret is wrong")
	}
	return client, nil
}

func (s *store) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	return &oidc.JWTTokenRequest{Subject: id, Audience: audience(id, scopes), Scopes: scopes}, nil
}

// request is a user's login. The package's example knows no audience but the
// client; in ZITADEL the API of the access token is in the ID token's aud too.
type request struct{ *storage.AuthRequest }

func (r request) GetAudience() []string { return audience(r.ApplicationID, r.Scopes) }

func wrap(r op.AuthRequest, err error) (op.AuthRequest, error) {
	if err != nil {
		return nil, err
	}
	return request{r.(*storage.AuthRequest)}, nil
}

func unwrap(r op.TokenRequest) op.TokenRequest {
	if wrapped, ok := r.(request); ok {
		return wrapped.AuthRequest
	}
	return r
}

func (s *store) AuthRequestByID(ctx context.Context, id string) (op.AuthRequest, error) {
	return wrap(s.Storage.AuthRequestByID(ctx, id))
}

func (s *store) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	return wrap(s.Storage.AuthRequestByCode(ctx, code))
}

func (s *store) CreateAccessToken(ctx context.Context, r op.TokenRequest) (string, time.Time, error) {
	id, _, err := s.Storage.CreateAccessToken(ctx, unwrap(r))
	return id, s.note(id, r), err
}

func (s *store) CreateAccessAndRefreshTokens(ctx context.Context, r op.TokenRequest, current string) (string, string, time.Time, error) {
	id, refresh, _, err := s.Storage.CreateAccessAndRefreshTokens(ctx, unwrap(r), current)
	return id, refresh, s.note(id, r), err
}

// note remembers an access token, and says when it expires.
func (s *store) note(id string, r op.TokenRequest) time.Time {
	m := made{r.GetAudience(), s.expiry()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made[id] = m
	return m.expiry
}

// SetIntrospectionFromToken says of a token what ZITADEL does, and to whom: to the
// clients of the projects that it is for. Whether it is there still is for the
// package's example to say, which shows each to its own client only.
func (s *store) SetIntrospectionFromToken(ctx context.Context, answer *oidc.IntrospectionResponse, id, subject, asks string) error {
	s.mu.Lock()
	m, known := s.made[id]
	s.mu.Unlock()
	if !known || !slices.Contains(m.audience, asks) && !slices.Contains(m.audience, projects[asks]) {
		return errors.New("the token is not for this client")
	}
	client := m.audience[0]
	if err := s.Storage.SetIntrospectionFromToken(ctx, answer, id, subject, client); err != nil {
		return err
	}
	claims, err := s.GetPrivateClaimsFromScopes(ctx, subject, client, answer.Scope)
	if err != nil {
		return err
	}
	answer.Issuer, answer.Audience, answer.JWTID, answer.ClientID = op.IssuerFromContext(ctx), m.audience, id, client
	answer.TokenType, answer.Expiration, answer.Claims = oidc.BearerToken, oidc.FromTime(m.expiry), claims
	return nil
}

// GetPrivateClaimsFromScopes brings roles in the shape that ZITADEL gives them: one
// in each API, and another in the client's own project. It brings no scope, which
// ZITADEL does not put into its tokens.
func (s *store) GetPrivateClaimsFromScopes(_ context.Context, _, client string, scopes []string) (map[string]any, error) {
	if !slices.Contains(scopes, rolesScope) {
		return nil, nil
	}
	role := func(name string) any { return map[string]any{name: map[string]string{"1001": "acme.example.test"}} }
	claims := map[string]any{"urn:zitadel:iam:org:project:roles": role("owner")}
	for _, api := range audience(client, scopes)[1:] {
		claims["urn:zitadel:iam:org:project:"+api+":roles"] = role("orders.reader")
	}
	return claims, nil
}

// audience is the client and, as in ZITADEL, whatever API a scope asks for.
func audience(client string, scopes []string) []string {
	all := []string{client}
	for _, scope := range scopes {
		if id, ok := strings.CutPrefix(scope, projectScope); ok && strings.HasSuffix(id, audienceEnd) {
			all = append(all, strings.TrimSuffix(id, audienceEnd))
		}
	}
	return all
}
