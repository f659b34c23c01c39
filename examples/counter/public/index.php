<?php $title = 'Live counter'; require __DIR__ . '/../../head.php' ?>
<style>
.count { text-align: center; padding: 3rem 1rem; }
#count { display: block; font-size: clamp(4rem, 20vw, 8rem); font-weight: 700; line-height: 1.1; letter-spacing: -.03em; font-variant-numeric: tabular-nums; color: var(--accent); }
</style>
</head>
<body data-port="<?= (int) (getenv('PORT') ?: 8080) ?>">
<main>
  <header><h1>Live counter</h1><p class="state" id="state" role="status">Connecting …</p></header>
  <section class="card count">
    <output id="count" aria-live="off">–</output>
    <p class="soft">A script on the server counts, and tells every page that is open.</p>
  </section>
</main>
<script>
"use strict";
let pause = 1000;

function connect() {
  const socket = new WebSocket(`ws://${location.hostname}:${document.body.dataset.port}/`);
  socket.onopen = () => { pause = 1000; state("Live", "open"); };
  socket.onmessage = ({data}) => { $("count").textContent = Number(data).toLocaleString("en"); };
  socket.onclose = () => {
    state("Connection lost, trying again …", "lost");
    setTimeout(connect, pause * (0.5 + Math.random() / 2));
    pause = Math.min(pause * 2, 30000);
  };
}

connect();
</script>
</body>
</html>
