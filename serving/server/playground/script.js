"use strict";
// Asks a TensorFlow Serving over REST. Nothing else is requested, and nothing is kept but in the page's address.

const STATUS_SECONDS = 5;
// As tokenizers write it. Which one is the model's, the model itself says.
const MASK_TOKENS = ["<mask>", "[MASK]", "<special1>", "[mask]"];
const REASONS = {
  no_mask: () => `Put ${maskToken ?? "the model's mask token"} into the text where a word is to be filled in.`,
  too_many_tokens: (row) => `The text has ${row.num_tokens} tokens, more than the model takes. Shorten it.`,
  no_mask_within: (row, tokens) => `The model cuts the text to ${tokens} tokens, and the mask is in what is cut off. Shorten it.`,
  invalid_top_k: () => "The model gives fewer candidates than that. Ask for fewer under “Server and choice”.",
  no_target: () => "None of the words to choose among has a token in the model's vocabulary.",
};

const $ = (id) => document.getElementById(id);
const percent = new Intl.NumberFormat("en", { style: "percent", minimumSignificantDigits: 3, maximumSignificantDigits: 3 });

/** The model's mask token, or null while unknown. */
let maskToken = null;
/** What maskToken was found for: server, model and version. */
let maskTokenOf = null;
/** Texts before each filling in. */
const history_ = [];
/** The version or label that the address asks for, until the versions are known. */
let wantedVersion = "";
/** Ends the request under way when another one starts. */
let underWay = new AbortController();

// ---- the server

/** The URL of what is asked of the model, such as ":predict". Throws where the field holds no URL. */
function url(action, place = "") {
  const base = new URL($("server").value.trim());
  if (!/^https?:$/.test(base.protocol)) throw new TypeError("not http");
  return `${base.origin}${base.pathname.replace(/\/+$/, "")}/v1/models/${encodeURIComponent($("model").value.trim())}${place}${action}`;
}

/** The answer to a request as an object; throws an Error that says what is wrong. */
async function request(action, body, signal, place) {
  let target;
  try {
    target = url(action, place);
  } catch {
    throw new Error("The server's URL must start with http:// or https://.");
  }
  let response;
  try {
    // Without a Content-Type of its own the request is a simple one, which browsers send without asking beforehand.
    const options = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
    response = await fetch(target, { ...options, signal, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const elsewhere = new URL(target).origin !== location.origin;
    throw new Error(`No answer from ${$("server").value}. Is the server running?` + (elsewhere
      ? " At another address than this page's, TensorFlow Serving needs --rest_api_enable_cors_support=true." : ""));
  }
  let answer = null;
  try {
    answer = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  if (response.ok && answer !== null) return answer;
  throw new Error(`The server answers ${response.status}: ${answer?.error ?? response.statusText}`);
}

/** Shows the model's state, and finds its mask token when another version serves. */
async function refreshStatus() {
  const name = $("model").value.trim();
  let version;
  try {
    const versions = (await request("", undefined, AbortSignal.timeout(10_000))).model_version_status;
    version = versions.find((one) => one.state === "AVAILABLE")?.version;
    offerVersions(versions.filter((one) => one.state === "AVAILABLE").map((one) => one.version));
    const loading = versions.find((one) => one.state === "LOADING")?.version;
    const failed = versions.find((one) => one.status?.error_code !== "OK" && Number(one.version) > Number(version ?? -1));
    showStatus(version === undefined ? "missing" : "available", [
      name,
      version === undefined ? "no version serves" : `version ${version}`,
      loading === undefined ? "" : `version ${loading} is loading`,
      failed === undefined ? "" : `version ${failed.version} failed to load`,
    ].filter(Boolean).join(" · "));
  } catch (error) {
    showStatus("missing", `${name} · ${/answers 404/.test(error.message) ? "not served here" : "out of reach"}`);
  }
  if (version !== undefined && maskTokenOf !== `${url("")} ${version}`) await findMaskToken(`${url("")} ${version}`);
}

/** Offers the versions that serve, and the labels that this page's server gave them; keeps what was chosen. */
function offerVersions(versions) {
  const field = $("version"), chosen = field.value || wantedVersion;
  const labels = $("server").value === ownServer()
    ? Object.keys(servedModels().find((one) => one.name === $("model").value.trim())?.labels ?? {}) : [];
  const offered = [["", "latest"], ...versions.map((one) => [`/versions/${one}`, `version ${one}`]),
    ...labels.map((one) => [`/labels/${encodeURIComponent(one)}`, `label ${one}`])];
  if (offered.map(([value]) => value).join(" ") === [...field.options].map((one) => one.value).join(" ")) return;
  field.replaceChildren(...offered.map(([value, textContent]) => element("option", { value, textContent })));
  field.value = offered.some(([value]) => value === chosen) ? chosen : "";
  wantedVersion = "";
}

function showStatus(state, text) {
  $("status").dataset.state = state;
  // The same words again would be read out again.
  if ($("status-text").textContent !== text) $("status-text").textContent = text;
}

/** Sends the known mask tokens as texts: the one with a mask in it is the model's. */
async function findMaskToken(of) {
  maskTokenOf = of;
  let found;
  try {
    const rows = (await request(":predict", { instances: MASK_TOKENS })).predictions;
    found = MASK_TOKENS.find((_, index) => rows[index].status === "ok") ?? null;
  } catch {
    // The first question will say what is wrong.
  }
  if (maskTokenOf !== of) return;
  if (found === undefined) maskTokenOf = null; // The next look at the model's state tries again.
  maskToken = found ?? null;
  $("insert").disabled = maskToken === null;
  $("insert").textContent = maskToken === null ? "Insert mask" : `Insert ${maskToken}`;
}

// ---- asking

/** What the form asks. */
function question() {
  // A blank before a word is part of it.
  const targets = $("targets").value.split(",").filter((word) => word.trim() !== "").join("\n");
  const row = { text: $("text").value, top_k: $("top-k").valueAsNumber, targets };
  return { signature_name: "fill_mask", instances: [row] };
}

/** Asks for candidates and shows them; tells whether there are any. */
async function ask() {
  underWay.abort();
  const mine = (underWay = new AbortController());
  rememberInAddress();
  if (!$("ask").checkValidity()) {
    $("settings").open = true;
    $("ask").reportValidity();
    return false;
  }
  if (!$("text").value.trim()) return fail("Type a text with a mask in it.");
  const body = question();
  showCommand(body);
  $("answer").setAttribute("aria-busy", "true");
  try {
    const start = performance.now();
    const [row] = (await request(":predict", body, mine.signal, $("version").value)).predictions;
    const milliseconds = performance.now() - start;
    // Of a model that cuts long texts, a status may end in the number of tokens that it keeps.
    const [, status, kept] = row.status.match(/^(.*?)(?:_(\d+)_tokens)?$/);
    if (status !== "ok" && status !== "truncated_to") {
      return fail(REASONS[status]?.(row, kept) ?? `The model answers “${row.status}”.`);
    }
    showAnswer(row, kept, body.instances[0].text, milliseconds);
    return true;
  } catch (error) {
    if (mine.signal.aborted) return false;
    const noSignature = /signature/i.test(error.message) && /fill_mask/.test(error.message);
    return fail(noSignature
      ? `${error.message}\nThe playground needs a model that takes text: one with its tokenizer in the graph.` : error.message);
  } finally {
    if (mine === underWay) $("answer").removeAttribute("aria-busy");
  }
}

/** Shows what is wrong, in place of an answer. */
function fail(message) {
  $("problem").textContent = message;
  $("problem").hidden = false;
  $("answer").hidden = true;
  return false;
}

// ---- showing

/** Shows a text's candidates. Kept are the tokens that the text was cut to, undefined where it's whole. */
function showAnswer(row, kept, text, milliseconds) {
  $("problem").hidden = true;
  $("answer").hidden = false;
  const masks = row.score.slice(0, row.num_masks).map((scores, mask) => scores
    .map((score, place) => ({ score, token: row.token[mask][place], word: row.token_str[mask][place] }))
    .filter((candidate) => candidate.token >= 0));
  $("summary").textContent = [
    count(masks.length, "mask"), kept === undefined ? count(row.num_tokens, "token") : `cut to ${kept} of its ${count(row.num_tokens, "token")}`,
    `answered in ${format(milliseconds)}`,
  ].join(" · ");
  const parts = maskToken === null ? [] : text.split(maskToken);
  // Should the tokenizer see other masks than stand in the text, there is no telling which one to replace.
  const replaceable = parts.length === masks.length + 1;
  const spaced = masks.flat().some((candidate) => /^\s/.test(candidate.word));
  $("masks").replaceChildren(...masks.map((candidates, mask) => {
    const panel = element("section", { className: "mask" });
    const title = element("h3", { id: `mask-${mask}`, textContent: masks.length > 1 ? `Mask ${mask + 1} of ${masks.length}` : "Mask" });
    panel.setAttribute("aria-labelledby", title.id);
    panel.append(title);
    if (replaceable) panel.append(context(parts, mask));
    const list = element("ol");
    list.append(...candidates.map((candidate) => {
      const item = element("li");
      item.append(candidateButton(candidate, spaced, replaceable ? () => choose(parts, mask, candidate.word, spaced) : null));
      return item;
    }));
    panel.append(list);
    return panel;
  }));
}

/** A mask among the words around it. */
function context(parts, mask) {
  const shown = (text) => text.replace(/\s+/g, " ");
  const before = shown(parts.slice(0, mask + 1).join("___")), after = shown(parts.slice(mask + 1).join("___"));
  const line = element("p", { className: "context" });
  // Up to 40 characters on each side, cut between words where there are any.
  line.append(before.length > 40 ? before.slice(-40).replace(/^\S* ?/, "… ") : before,
    element("mark", { textContent: mask + 1 }),
    after.length > 40 ? after.slice(0, 40).replace(/ ?\S*$/, " …") : after);
  return line;
}

/** Whether a token goes on with the word before it. Where words begin with their blank, one of letters without it does. */
function isPiece(word, spaced) {
  return /^##./.test(word) || (spaced && /^[\p{L}\p{M}\p{N}]/u.test(word));
}

/** A candidate with its probability, as a number and as a bar: a whole line is 100%. */
function candidateButton(candidate, spaced, choose) {
  const button = element("button", { type: "button", className: "candidate", disabled: choose === null });
  const bar = element("span", { className: "bar" });
  bar.style.setProperty("--share", candidate.score);
  bar.setAttribute("aria-hidden", "true");
  const word = element("span", { className: "word", textContent: visible(candidate.word) });
  const label = element("span");
  label.append(word);
  if (isPiece(candidate.word, spaced)) label.append(" ", element("span", { className: "piece", textContent: "goes on with the word before" }));
  button.append(bar, label, element("span", { className: "score", textContent: percent.format(candidate.score) }));
  button.title = `token ${candidate.token}, ${JSON.stringify(candidate.word)}`;
  if (choose !== null) button.addEventListener("click", choose);
  return button;
}

/** A token's text with white space at its ends left out, or shown where there is nothing else. */
function visible(word) {
  return word.trim().replace(/^##(?=.)/, "") || word.replace(/ /g, "␣").replace(/\n/g, "↵").replace(/\t/g, "⇥") || "(nothing)";
}

/** The text with a mask replaced, written as the tokenizer would join it. */
function filled(parts, mask, word, spaced) {
  let before = parts.slice(0, mask + 1).join(maskToken);
  const after = parts.slice(mask + 1).join(maskToken);
  if (word.startsWith("##")) {
    // WordPiece: the rest of the word before.
    return before.trimEnd() + word.slice(2) + after;
  }
  if (/^\s/.test(word)) {
    if (before === "" || /\s$/.test(before)) word = word.trimStart();
  } else if (spaced) {
    // Where words begin with their blank, one without goes on with what stands before.
    before = before.trimEnd();
  }
  return before + word + after;
}

/** Puts a candidate into its mask's place, and asks again for the masks that are left. */
async function choose(parts, mask, word, spaced) {
  history_.push($("text").value);
  $("text").value = filled(parts, mask, word, spaced);
  $("undo").disabled = false;
  await askAgain(mask);
}

/** Takes the last filling in back. */
async function undo() {
  if (history_.length === 0) return;
  $("text").value = history_.pop();
  $("undo").disabled = history_.length === 0;
  await askAgain(null);
}

/** Asks after a change; leaves the focus with the candidates of the mask that now has the number, else at Undo. */
async function askAgain(mask) {
  if (maskToken !== null && !$("text").value.includes(maskToken)) {
    underWay.abort();
    rememberInAddress();
    $("problem").hidden = true;
    $("answer").hidden = false;
    $("answer").removeAttribute("aria-busy");
    $("masks").replaceChildren();
    $("command").hidden = true;
    $("summary").textContent = "Every mask is filled in.";
    $("undo").focus();
    return;
  }
  if ((await ask()) && mask !== null) {
    const panels = document.querySelectorAll(".mask");
    panels[Math.min(mask, panels.length - 1)]?.querySelector("button:enabled")?.focus();
  }
}

/** Up and down go through a mask's candidates. */
function moveBetweenCandidates(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const list = event.target.closest?.("ol");
  if (step === undefined || !list) return;
  const buttons = [...list.querySelectorAll("button")];
  buttons[buttons.indexOf(event.target) + step]?.focus();
  event.preventDefault();
}

// ---- the command line

function showCommand(body) {
  let target;
  try {
    target = url(":predict", $("version").value);
  } catch {
    $("command").hidden = true;
    return;
  }
  $("curl").textContent = `curl -s -d ${quoted(JSON.stringify(body))} ${quoted(target)}`;
  $("command").hidden = false;
  $("copy").textContent = "Copy";
}

/** A string for the shell, whatever is in it. */
function quoted(text) {
  return /^[\w./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

async function copy() {
  try {
    await navigator.clipboard.writeText($("curl").textContent);
    $("copy").textContent = "Copied";
  } catch {
    // Pages over plain http have no clipboard but on this machine: the line is marked, to be copied by hand.
    getSelection().selectAllChildren($("curl"));
    $("copy").textContent = "Marked: copy it with Ctrl C";
  }
}

// ---- small things

function element(name, properties = {}) {
  return Object.assign(document.createElement(name), properties);
}

function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

function format(milliseconds) {
  return milliseconds < 10 ? `${milliseconds.toFixed(1)} ms`
    : milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(2)} s`;
}

/** Puts the mask token where the cursor is. */
function insertMask() {
  const field = $("text");
  field.setRangeText(maskToken, field.selectionStart, field.selectionEnd, "end");
  field.focus();
}

/** Keeps what is asked in the fragment, which is sent nowhere, so that the address can be passed on. */
function rememberInAddress() {
  const fields = { text: $("text").value, top_k: $("top-k").value };
  if ($("server").value !== ownServer()) fields.server = $("server").value;
  if ($("model").value !== servedModels()[0].name) fields.model = $("model").value;
  if ($("version").value) fields.version = $("version").value;
  if ($("targets").value) fields.targets = $("targets").value;
  history.replaceState(null, "", `#${new URLSearchParams(fields)}`);
}

function ownServer() {
  return location.protocol === "file:" ? "http://127.0.0.1:8501" : location.origin;
}

/** The models of the server that this page came from, or what a page from elsewhere starts with. */
function servedModels() {
  const models = JSON.parse(document.querySelector("meta[name=models]").content);
  return models.length ? models : [{ name: "fill_mask", example: null, labels: {} }];
}

/** A text to try the model on: its own, where it came with one. */
function example() {
  const own = $("server").value === ownServer()
    ? servedModels().find((one) => one.name === $("model").value.trim())?.example : null;
  return own ?? maskToken ?? "<mask>";
}

async function start() {
  const given = new URLSearchParams(location.hash.slice(1));
  $("server").value = given.get("server") ?? ownServer();
  $("model").value = given.get("model") ?? servedModels()[0].name;
  $("targets").value = given.get("targets") ?? "";
  wantedVersion = given.get("version") ?? "";
  $("top-k").value = given.get("top_k") ?? "5";
  $("models").append(...servedModels().map(({ name }) => element("option", { value: name })));
  $("settings").open = location.protocol === "file:" || ["server", "version", "targets"].some((name) => given.has(name));

  $("ask").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  $("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); ask(); }
  });
  $("insert").addEventListener("click", insertMask);
  $("undo").addEventListener("click", undo);
  $("copy").addEventListener("click", copy);
  $("masks").addEventListener("keydown", moveBetweenCandidates);
  for (const id of ["server", "model"]) $(id).addEventListener("change", refreshStatus);
  setInterval(() => { if (!document.hidden) refreshStatus(); }, STATUS_SECONDS * 1000);

  await refreshStatus();
  $("text").value = given.get("text") ?? example();
  await ask();
}

start();
