<?php
// What the Autobahn testsuite demands of a server, said in PHP: every message comes back as it was.
header('Content-Type: ' . ($_SERVER['WSGATE_OPCODE'] === 'binary' ? 'application/octet-stream' : 'text/plain; charset=utf-8'));
readfile('php://input');
