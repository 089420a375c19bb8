// Who is logged in, and what they typed and have not sent. Nothing of it is written to the device.

import { read, SessionExpired, useToken, write } from "./api.js";

const drafts = new Map();
let me = null;

export const current = () => me;

/** Reads who is logged in; fails with SessionExpired where nobody is. */
export async function load() {
  me = await read("me");
  useToken(me.csrf);
  return me;
}

export async function login(user, password) {
  useToken((await write("login", { user, password })).csrf);
  return load();
}

export async function logout() {
  try {
    await write("logout");
  } catch (error) {
    if (!(error instanceof SessionExpired)) throw error;
  }
  forget();
  drafts.clear();
}

/** The session is over; what was typed stays until its writer is back. */
export function forget() {
  me = null;
  useToken(null);
}

/** A reader's unsent reading of a case: {verdicts, comment, seconds}. It outlives an expired session. */
export function draft(id) {
  const key = `${me.user} ${id}`;
  if (!drafts.has(key)) drafts.set(key, { verdicts: {}, comment: "", seconds: 0, touched: false });
  return drafts.get(key);
}

export const dropDraft = (id) => drafts.delete(`${me.user} ${id}`);

export const unsent = () => [...drafts.values()].some((kept) => kept.touched);
