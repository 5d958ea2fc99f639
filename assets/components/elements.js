// Pieces of controls, for every component. Text of the data only ever becomes text: nothing is read as HTML.

function el(tag, { text, on = {}, ...attributes } = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  for (const [event, act] of Object.entries(on)) node.addEventListener(event, act);
  if (text !== undefined) node.textContent = text;
  node.append(...children.filter(Boolean));
  return node;
}

function labelled(label, control) {
  return el("label", { class: "choice" }, el("span", { text: label }), control);
}

function toggle(name, label, pressed, act, title = label) {
  const on = { click: act };
  return el("button", { type: "button", name, "aria-pressed": String(pressed), title, text: label, on });
}

function button(name, label, act, title) {
  return el("button", { type: "button", name, "aria-label": title, title, text: label, on: { click: act } });
}
