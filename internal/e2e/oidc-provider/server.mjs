// The authorization server of the end-to-end tests: npm's oidc-provider on loopback, with what a
// resource server cares about and nothing else. The protocol is the package's; this file configures it.
//
//   node server.mjs [--path /tenant/a] [--metadata openid-configuration|oauth-authorization-server] [--rp http://127.0.0.1:4000]
//       [--rs-key JWK]
//
// It listens on a port of the system's choice and prints "READY <issuer>". Then each line on stdin is an
// order, answered by one line, "OK" or "FAILED <why>":
//
//   publish     make new keys and publish them beside those that are there
//   activate    sign with the newest keys from now on
//   retire      take every key out that does not sign
//   ttl 1       seconds that access tokens live from now on
//
// It ends when stdin ends, so it cannot outlive the test that started it, however that test ended.
import { generateKeyPair } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { parseArgs, promisify } from 'node:util';
import { errors, Provider } from 'oidc-provider';

const { values: options } = parseArgs({
  options: {
    path: { type: 'string', default: '' }, // the issuer's path
    metadata: { type: 'string', default: '' }, // the only metadata document to serve; both if empty
    rp: { type: 'string', default: 'http://127.0.0.1:9' }, // where the user's client is: its redirect URI is this and /cb
    'rs-key': { type: 'string', default: '' }, // public JWK of the client rs-key
  },
});

const scopesOf = {
  'https://api.example.test/orders': 'read:orders write:orders',
  'https://api.example.test/billing': 'read:billing',
};

const secret = 'not-a-secret'; // for tests on loopback alone; the Go side knows it too

// One client for each algorithm: the client decides how its tokens are signed, as an API would at a real provider.
const clients = ['RS256', 'PS256', 'ES256', 'EdDSA'].map((alg) => ({
  client_id: alg.toLowerCase(),
  client_secret: secret,
  grant_types: ['client_credentials'],
  response_types: [],
  redirect_uris: [],
  access_token_alg: alg,
}));
clients.push({ // the client of users
  client_id: 'web',
  client_secret: secret,
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  redirect_uris: [`${options.rp}/cb`],
  backchannel_logout_uri: `${options.rp}/logout`,
  access_token_alg: 'RS256',
});

// One whose tokens are opaque, and those of APIs that introspect them, one for each way to authenticate.
const api = (id, more) => ({
  client_id: id, client_secret: secret, grant_types: [], response_types: [], redirect_uris: [], ...more,
});
clients.push(
  api('opaque', { grant_types: ['client_credentials'], opaque_access_tokens: true }),
  api('rs', {}),
  api('rs-post', { token_endpoint_auth_method: 'client_secret_post' }),
  api('rs-signed', { introspection_signed_response_alg: 'ES256' }), // RFC 9701
);
if (options['rs-key']) {
  clients.push(api('rs-key', {
    client_secret: undefined, token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [JSON.parse(options['rs-key'])] },
  }));
}

const newPair = promisify(generateKeyPair);

// The RSA key names no algorithm, so that one key serves RS256 and PS256, as many providers have it.
const families = {
  rsa: () => newPair('rsa', { modulusLength: 2048 }),
  ec: () => newPair('ec', { namedCurve: 'P-256' }),
  okp: () => newPair('ed25519'),
};
const familyOf = { RS256: 'rsa', PS256: 'rsa', ES256: 'ec', EdDSA: 'okp' };

let newest = 0; // the generation of the newest keys
let signing = 0; // that of those which sign
let keys = []; // all that are published, each { generation, jwk }
let ttl = 300;

async function publish() {
  const next = newest + 1;
  const made = await Promise.all(Object.entries(families).map(async ([family, make]) => {
    const { privateKey } = await make();
    return { generation: next, jwk: { ...privateKey.export({ format: 'jwk' }), kid: `${family}-${next}`, use: 'sig' } };
  }));
  keys = [...keys, ...made];
  newest = next;
  install();
}

function activate() {
  signing = newest;
  install();
}

function retire() {
  keys = keys.filter((key) => key.generation === signing);
  install();
}

// A Provider reads its keys once, so a change of keys is a new Provider behind the same listener. The swap is
// one assignment: no request sees a token whose key the JWKS does not have yet. A token request that began
// before the swap ends with the keys that it began with, and those are still published.
let issuer;
let provider;
let answer;
function install() {
  provider = new Provider(issuer, configuration(signing));
  provider.on('backchannel.error', (_ctx, err) => console.error(err));
  answer = provider.callback();
}

function configuration(generation) {
  return {
    jwks: { keys: keys.map((key) => key.jwk) },
    clients,
    extraClientMetadata: { properties: ['access_token_alg', 'opaque_access_tokens'] },
    extraTokenClaims: () => ({ 'https://example.test/tenant': 'acme' }),
    ttl: { ClientCredentials: () => ttl },
    cookies: { keys: [secret] },
    // The package rightly sends its logout tokens to no loopback address, but there the test is.
    fetch: (url, { dispatcher, ...init }) => fetch(url, init),
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    interactions: { url: (_ctx, interaction) => `${options.path}/interaction/${interaction.uid}` },
    features: {
      clientCredentials: { enabled: true },
      backchannelLogout: { enabled: true },
      devInteractions: { enabled: false },
      introspection: { enabled: true },
      jwtIntrospection: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo(_ctx, resource, client) {
          if (!Object.hasOwn(scopesOf, resource)) throw new errors.InvalidTarget();
          const alg = client.access_token_alg;
          return {
            audience: resource,
            scope: scopesOf[resource],
            accessTokenFormat: client.opaque_access_tokens ? 'opaque' : 'jwt',
            jwt: { sign: { alg, kid: `${familyOf[alg]}-${generation}` } },
          };
        },
      },
    },
  };
}

// A login that asks nothing: whoever comes is the user, and consents to all.
async function login(req, res) {
  const { params } = await provider.interactionDetails(req, res);
  const accountId = 'alice';
  const grant = new provider.Grant({ accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  if (params.resource) grant.addResourceScope(params.resource, scopesOf[params.resource]);
  await provider.interactionFinished(req, res, { login: { accountId }, consent: { grantId: await grant.save() } });
}

const inserted = `/.well-known/oauth-authorization-server${options.path}`; // RFC 8414 §3.1: before the issuer's path
const appended = `${options.path}/.well-known/openid-configuration`; // OpenID Connect Discovery §4: after it

// The path within the provider that a URL means, or undefined where nothing is served.
function route(url) {
  if (url === inserted) return served('oauth-authorization-server');
  if (url === appended) return served('openid-configuration');
  if (url.includes('/.well-known/') || !url.startsWith(`${options.path}/`)) return undefined;
  return url.slice(options.path.length);
}

function served(document) {
  return !options.metadata || options.metadata === document ? `/.well-known/${document}` : undefined;
}

const server = createServer((req, res) => {
  const path = route(req.url);
  if (path === undefined) {
    res.writeHead(404).end();
    return;
  }
  req.url = path;
  req.baseUrl = options.path; // how the provider learns what it is mounted under
  if (!path.startsWith('/interaction/')) {
    answer(req, res);
    return;
  }
  login(req, res).catch((err) => {
    console.error(err);
    res.writeHead(500).end();
  });
});

const orders = { publish, activate, retire, ttl: (seconds) => { ttl = Number(seconds); } };

server.listen(0, '127.0.0.1', async () => {
  issuer = `http://127.0.0.1:${server.address().port}${options.path}`;
  await publish();
  activate();
  console.log(`READY ${issuer}`);

  for await (const line of createInterface({ input: process.stdin })) {
    const [name, ...operands] = line.split(' ');
    try {
      await orders[name](...operands);
      console.log('OK');
    } catch (err) {
      console.log(`FAILED ${err.message}`);
    }
  }
  process.exit(0);
});
