// An authorization server of the end-to-end tests: npm's better-auth with its OAuth provider plugin, on
// loopback, with what a resource server cares about and nothing else. The protocol and the keys are the
// packages'; this file configures them. Keys are made when the first token needs them, and rotate by themselves.
//
//   node server.mjs [--rotate 2 --grace 2] [--rp http://127.0.0.1:4000]
//
// It listens on a port of the system's choice and prints "READY <issuer>". Then each line on stdin is an
// order, answered by one line, "OK" or "FAILED <why>":
//
//   ttl 1       seconds that access tokens live from now on
//
// It ends when stdin ends, so it cannot outlive the test that started it, however that test ended.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { betterAuth } from 'better-auth';
import { memoryAdapter } from 'better-auth/adapters/memory';
import { getAuthTables } from 'better-auth/db';
import { toNodeHandler } from 'better-auth/node';
import { jwt } from 'better-auth/plugins';
import { oauthProvider } from '@better-auth/oauth-provider';

const { values: flags } = parseArgs({
  options: {
    rotate: { type: 'string', default: '0' }, // seconds that a key signs; 0 is for ever
    grace: { type: 'string', default: '0' }, // seconds that a key is published after that
    rp: { type: 'string', default: 'http://127.0.0.1:9' }, // where the user's client is: its redirect URI is this and /cb
  },
});

const ofUsers = ['openid', 'offline_access'];
// The second algorithm has no key until the first token for the billing API is made.
const apis = {
  'https://api.example.test/orders': { signingAlgorithm: 'EdDSA', allowedScopes: ['read:orders', 'write:orders', ...ofUsers] },
  'https://api.example.test/billing': { signingAlgorithm: 'ES256', allowedScopes: ['read:billing'] },
};
const scopes = ['read:orders', 'write:orders', 'read:billing'];

const secret = 'not-a-secret'; // for tests on loopback alone; the Go side knows it too
const user = { email: 'alice@example.test', password: 'not-a-secret', name: 'Alice' };

const database = {};
let nextClient; // the name of the client that is being made
let auth;

function configure(base) {
  const rotation = { rotationInterval: Number(flags.rotate), gracePeriod: Number(flags.grace) };
  const options = {
    baseURL: base,
    secret: randomBytes(32).toString('hex'),
    database: memoryAdapter(database),
    telemetry: { enabled: false },
    emailAndPassword: { enabled: true },
    rateLimit: { enabled: false },
    logger: { level: 'error' },
    plugins: [
      jwt({
        disableSettingJwtHeader: true,
        jwks: {
          keyPairConfig: { alg: 'EdDSA' },
          keyPairConfigs: [{ alg: 'ES256' }],
          ...(rotation.rotationInterval ? rotation : {}),
        },
      }),
      oauthProvider({
        loginPage: '/login',
        consentPage: '/consent',
        scopes: [...ofUsers, ...scopes],
        clientPrivileges: () => true,
        resourcePrivileges: () => true,
        enforcePerClientResources: false,
        generateClientId: () => nextClient,
        generateClientSecret: () => secret,
        resources: Object.entries(apis).map(([identifier, api]) => ({
          identifier, ...api, accessTokenTtl: 300, customClaims: { 'https://example.test/tenant': 'acme' },
        })),
        silenceWarnings: { oauthAuthServerConfig: true, openidConfig: true },
      }),
    ],
  };
  for (const table of Object.values(getAuthTables(options))) database[table.modelName] = [];
  auth = betterAuth(options);
}

// A user, and through the server's own API the clients.
async function populate() {
  const { headers } = await auth.api.signUpEmail({ body: user, returnHeaders: true });
  const cookie = headers.getSetCookie().map((line) => line.split(';')[0]).join('; ');
  const client = async (name, body) => {
    nextClient = name;
    await auth.api.adminCreateOAuthClient({ headers: new Headers({ cookie }), body: { client_name: name, ...body } });
  };
  await client('svc', { grant_types: ['client_credentials'], client_credentials_scopes: scopes });
  await client('web', {
    application_type: 'native', grant_types: ['authorization_code', 'refresh_token'], redirect_uris: [`${flags.rp}/cb`], skip_consent: true,
  });
  // The server rightly takes no loopback address where it would send logout tokens to, but there the test is.
  database.oauthClient.find((row) => row.clientId === 'web').backchannelLogoutUri = `${flags.rp}/logout`;
}

const answers = {
  // The plugin leaves these two to whoever mounts it.
  '/api/auth/.well-known/openid-configuration': async (res) => json(res, await auth.api.getOpenIdConfig()),
  '/.well-known/oauth-authorization-server/api/auth': async (res) => json(res, await auth.api.getOAuthServerConfig()),
  // A login that asks nothing: whoever comes is the user.
  '/login': async (res, query) => {
    const { headers } = await auth.api.signInEmail({ body: user, returnHeaders: true });
    res.writeHead(302, { 'set-cookie': headers.getSetCookie(), location: `/api/auth/oauth2/authorize${query}` }).end();
  },
};

function json(res, document) {
  res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document));
}

const orders = {
  ttl: (seconds) => {
    for (const row of database.oauthResource) row.accessTokenTtl = Number(seconds);
  },
};

let mounted;
const server = createServer(async (req, res) => {
  const { pathname, search } = new URL(req.url, 'http://127.0.0.1');
  try {
    await (Object.hasOwn(answers, pathname) ? answers[pathname](res, search) : mounted(req, res));
  } catch (err) {
    console.error(err);
    res.writeHead(500).end();
  }
});

server.listen(0, '127.0.0.1', async () => {
  const base = `http://127.0.0.1:${server.address().port}`;
  configure(base);
  await populate();
  mounted = toNodeHandler(auth);
  console.log(`READY ${base}/api/auth`);

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
