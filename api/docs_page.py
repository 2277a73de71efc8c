"""The page at `/docs`: lists the calls of `/openapi.json` with their examples.

It loads nothing from another server.
"""

from __future__ import annotations

import base64
import hashlib

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
details { border: 1px solid #8886; border-radius: .4rem; margin: .4rem 0; padding: .4rem .8rem }
summary { cursor: pointer }
b { display: inline-block; min-width: 4.5rem; font-family: monospace }
code { font-size: .95rem; overflow-wrap: anywhere }
pre { overflow: auto; background: #8882; border-radius: .3rem; padding: .6rem; font-size: .85rem }
h2 { text-transform: capitalize }
"""

_SCRIPT = """
const root = document.getElementById("calls");
const add = (parent, tag, text) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
};
const show = (parent, title, content) => {
  for (const [type, media] of Object.entries(content || {})) {
    add(parent, "h4", title + " (" + type + ")");
    if (media.example !== undefined) {
      const text = typeof media.example === "string" ? media.example : JSON.stringify(media.example, null, 2);
      add(parent, "pre", text);
    }
  }
};
fetch("openapi.json").then((answer) => answer.json()).then((api) => {
  add(document.getElementById("about"), "p", api.info.description + " Version " + api.info.version + ".");
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths))
    for (const [method, call] of Object.entries(methods)) {
      const tag = (call.tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push([method, path, call]);
    }
  for (const [tag, calls] of groups) {
    add(root, "h2", tag);
    for (const [method, path, call] of calls) {
      const box = add(root, "details");
      const head = add(box, "summary");
      add(head, "b", method.toUpperCase());
      add(head, "code", path);
      head.append(" " + (call.summary || ""));
      add(box, "p", call.description || "");
      for (const one of call.parameters || []) {
        const line = add(box, "p");
        add(line, "code", one.name);
        const more = one.example === undefined ? "" : ", for example " + JSON.stringify(one.example);
        line.append(" (" + one.in + ") " + (one.description || one.schema.description || "") + more);
      }
      for (const sample of call["x-codeSamples"]) {
        add(box, "h4", sample.label);
        add(box, "pre", sample.source);
      }
      if (call.requestBody) show(box, "Request", call.requestBody.content);
      for (const [status, answer] of Object.entries(call.responses))
        show(box, status + " " + answer.description, answer.content);
    }
  }
}).catch((error) => add(root, "p", "The description could not be loaded: " + error));
"""

DOCS_PAGE = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Docatlas API</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>
<body><h1>Docatlas API</h1><div id="about"></div>
<p>For tools: <a href="openapi.json">openapi.json</a>.</p><div id="calls"></div><script>{_SCRIPT}</script></body></html>
"""


def _hash_source(text: str) -> str:
    """The Content-Security-Policy source that lets exactly this inline text run.

    Source: CSP Level 3, section 2.3.1.
    """
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


DOCS_POLICY = (
    f"default-src 'none'; script-src {_hash_source(_SCRIPT)}; style-src {_hash_source(_STYLE)}; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
