// The server's interface: JSON under /api, a session cookie, a token against forged requests.

let token = null;

/** What the server refused, in its own words; status 0 where it was not reached. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The session ended; the login comes next. */
export class SessionExpired extends ApiError {}

/** The token of this session, from the login's or /api/me's answer. */
export function useToken(csrf) {
  token = csrf;
}

export const read = (path, signal) => send("GET", path, undefined, signal).then((answer) => answer.json());
export const write = (path, body) => send("POST", path, body).then((answer) =>
  answer.headers.get("content-type")?.includes("json") ? answer.json() : null);

/** A file's bytes. */
export const bytes = (path, signal) => send("GET", path, undefined, signal).then((answer) => answer.arrayBuffer());

/** Hands a file to the browser's downloads, so that a refusal is read in words and not as a broken page. */
export async function download(path, name) {
  const answer = await send("GET", path);
  const address = URL.createObjectURL(await answer.blob());
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

async function send(method, path, body, signal) {
  const headers = { Accept: "application/json" };
  if (method !== "GET" && token) headers["X-CSRF-Token"] = token;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(`/api/${path}`, {
      method, headers, signal, credentials: "same-origin", cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer. Check the connection, or ask whether the workbench still runs.");
  }
  if (answer.ok) return answer;
  const message = await sentence(answer);
  if (answer.status === 401 && path !== "login" && path !== "signoff") throw new SessionExpired(401, message);
  throw new ApiError(answer.status, message);
}

async function sentence(answer) {
  try {
    const said = (await answer.json()).error;
    if (typeof said === "string" && said) return `${said.charAt(0).toUpperCase()}${said.slice(1)}${/[.!?]$/.test(said) ? "" : "."}`;
  } catch { /* not JSON: a proxy's page */ }
  return `The server refused with status ${answer.status} and gave no reason.`;
}
