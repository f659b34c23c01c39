<?php

declare(strict_types=1);

require __DIR__ . '/../../../php/autoload.php';

const USERS = ['ada', 'bob', 'eve'];

session_start(['cookie_samesite' => 'Lax', 'cookie_httponly' => true]);
$user = $_SESSION['user'] ?? null;
if (isset($_POST['login']) && in_array($_POST['user'] ?? '', USERS, true)) {
    session_regenerate_id(true);
    $_SESSION['user'] = $_POST['user'];                 // a real one asks for a password first
}
if (isset($_POST['logout']) && $user !== null) {
    session_destroy();
    $wsgate = new Wsgate\Gateway('unix:' . __DIR__ . '/../control.sock');
    $wsgate->disconnectUser($user, 4001, 'logged out');  // the open windows, too
}
if ($_POST !== []) {
    header('Location: /', true, 303);
    exit;
}

$title = 'Notify one user';
require __DIR__ . '/../../head.php';
?>
<style>
#notices { display: grid; gap: .5rem; }
#notices li { background: var(--tint); border-radius: 9px; padding: .6rem .9rem; overflow-wrap: anywhere; }
#notices li b { color: var(--accent); }
#notices:empty::before { content: "Nothing yet."; color: var(--soft); }
</style>
</head>
<body data-port="<?= (int) (getenv('PORT') ?: 8080) ?>" data-user="<?= htmlspecialchars($user ?? '') ?>">
<main>
<?php if ($user === null): ?>
  <header><h1>Notify one user</h1></header>
  <form class="card" method="post">
    <div class="grow"><label for="user">Log in as</label>
      <select id="user" name="user"><?php foreach (USERS as $name): ?><option><?= $name ?><?php endforeach ?></select></div>
    <button id="login" name="login" value="1">Log in</button>
  </form>
  <p class="soft">Open a second browser, or a private window, and log in as somebody else there.</p>
<?php else: ?>
  <header><h1>Hello, <?= htmlspecialchars($user) ?></h1><p class="state" id="state" role="status">Connecting …</p>
    <form method="post"><button class="quiet" id="logout" name="logout" value="1">Log out</button></form></header>
  <section class="card"><h2>Notices for you</h2><ul id="notices" aria-live="polite"></ul></section>
  <form class="card" id="notify">
    <div class="grow"><label for="to">To</label>
      <select id="to" name="to"><?php foreach (USERS as $name): ?><option><?= $name ?><?php endforeach ?></select></div>
    <div class="grow"><label for="text">Notice</label><input id="text" name="text" required maxlength="200" autocomplete="off"></div>
    <button id="send">Notify</button>
  </form>
  <p class="soft" id="told" role="status"></p>
<?php endif ?>
</main>
<script>
"use strict";
let pause = 1000;

function connect() {
  // The session's cookie goes with the handshake; there PHP sees who this is.
  const socket = new WebSocket(`ws://${location.hostname}:${document.body.dataset.port}/`);
  socket.onopen = () => { pause = 1000; state("Listening", "open"); };
  socket.onmessage = ({data}) => {
    const {from, text} = JSON.parse(data);
    const li = document.createElement("li");
    li.append(Object.assign(document.createElement("b"), {textContent: from}), ` ${text}`);
    $("notices").prepend(li);
  };
  socket.onclose = ({code}) => {
    if (code === 4001) return location.replace("/");   // logged out, perhaps in another window
    state("Connection lost, trying again …", "lost");
    setTimeout(connect, pause * (0.5 + Math.random() / 2));
    pause = Math.min(pause * 2, 30000);
  };
}

async function notify(event) {
  event.preventDefault();
  const answer = await fetch("notify.php", {method: "POST", body: new FormData($("notify"))});
  $("told").textContent = answer.ok ? await answer.text() : "That failed.";
  $("text").value = "";
}

if (document.body.dataset.user) {
  connect();
  $("notify").onsubmit = notify;
}
</script>
</body>
</html>
