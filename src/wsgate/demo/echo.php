<?php
// Answers each message with itself.
if ($_SERVER['WSGATE_OPCODE'] === 'binary')
    header('Content-Type: application/octet-stream');
readfile('php://input');
