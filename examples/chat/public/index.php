<?php $title = 'Chat'; require __DIR__ . '/../../head.php' ?>
<style>
.room { display: grid; grid-template-columns: minmax(0, 1fr) 11rem; gap: 1rem; }
#log { height: 22rem; overflow-y: auto; padding-right: .5rem; display: flex; flex-direction: column; gap: .5rem; align-items: start; }
#log li { max-width: 90%; background: var(--sunk); border-radius: 4px 12px 12px; padding: .4rem .8rem; overflow-wrap: anywhere; }
#log li b { display: block; font-size: .8125rem; color: var(--accent); }
#log li.mine { align-self: end; background: var(--tint); border-radius: 12px 4px 12px 12px; }
#log li.note { background: none; color: var(--soft); font-size: .875rem; padding: 0 .8rem; }
#people li { display: flex; align-items: center; gap: .5rem; overflow-wrap: anywhere; }
#people li::before { content: ""; flex: none; width: .5rem; height: .5rem; border-radius: 50%; background: var(--good); }
@media (max-width: 36rem) { .room { grid-template-columns: minmax(0, 1fr); } #log { height: 16rem; } #people { display: flex; flex-wrap: wrap; gap: .25rem 1rem; } }
</style>
</head>
<body data-port="<?= (int) (getenv('PORT') ?: 8080) ?>">
<main>
  <header><h1>Chat</h1><p class="state" id="state" role="status">Not connected</p></header>
  <form class="card" id="enter">
    <div class="grow"><label for="name">Your name</label><input id="name" required maxlength="24" autocomplete="nickname"></div>
    <div class="grow"><label for="room">Room</label><select id="room"><option>lobby<option>garden<option>cellar</select></div>
    <button id="go">Enter</button>
  </form>
  <div class="room" id="inside" hidden>
    <section class="card" aria-label="Messages"><ul id="log" role="log" tabindex="0" aria-label="Messages"></ul></section>
    <section class="card"><h2>Here now</h2><ul id="people"></ul></section>
  </div>
  <form class="card" id="say" hidden>
    <div class="grow"><label for="text">Message</label><input id="text" required maxlength="500" autocomplete="off"></div>
    <button id="send">Send</button>
  </form>
</main>
<script>
"use strict";
let socket = null, entered = false, pause = 1000;

function item(list, text, kind = "", from = "") {
  const li = document.createElement("li");
  li.className = kind;
  if (from) li.append(Object.assign(document.createElement("b"), {textContent: from}));
  li.append(text);
  list.append(li);
  list.scrollTop = list.scrollHeight;
}

const people = new Set();
function showPeople() {
  $("people").replaceChildren();
  for (const name of [...people].sort()) item($("people"), name);
}

function connect(name, room) {
  socket = new WebSocket(`ws://${location.hostname}:${document.body.dataset.port}/?` + new URLSearchParams({name, room}));
  state("Connecting …", "");
  socket.onopen = () => {
    entered = true;
    pause = 1000;
    state(`In the ${room}`, "open");
    socket.send("");                                  // who is here?
    $("enter").hidden = true;
    $("inside").hidden = $("say").hidden = false;
    $("text").focus();
  };
  socket.onmessage = ({data}) => {
    const said = JSON.parse(data);
    if (said.present) said.present.forEach((one) => people.add(one));
    if (said.joined && !people.has(said.joined)) { people.add(said.joined); item($("log"), `${said.joined} came in`, "note"); }
    if (said.left && people.delete(said.left)) item($("log"), `${said.left} left`, "note");
    if (said.text) item($("log"), said.text, said.from === name ? "mine" : "", said.from);
    if (said.error) item($("log"), said.error.reason, "note");
    showPeople();
  };
  socket.onclose = () => {
    people.clear();
    showPeople();
    if (!entered) {                                   // refused: a browser does not tell why
      socket = null;
      return state("Not let in; try another name", "lost");
    }
    state("Connection lost, trying again …", "lost");
    setTimeout(connect, pause * (0.5 + Math.random() / 2), name, room);
    pause = Math.min(pause * 2, 30000);
  };
}

$("enter").onsubmit = (event) => {
  event.preventDefault();
  if (!socket) connect($("name").value.trim(), $("room").value);
};
$("say").onsubmit = (event) => {
  event.preventDefault();
  if (socket.readyState !== WebSocket.OPEN) return;
  socket.send($("text").value);
  $("text").value = "";
};
$("name").focus();
</script>
</body>
</html>
