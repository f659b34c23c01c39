<?php
// Answers with what PHP was given, as JSON. Bytes that are not UTF-8 become U+FFFD.
header('Content-Type: application/json');
echo json_encode(
    ['status' => 'OK', 'time' => date(DATE_ATOM), '$_REQUEST' => $_REQUEST, '$_SERVER' => $_SERVER],
    JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE
        | JSON_INVALID_UTF8_SUBSTITUTE | JSON_PARTIAL_OUTPUT_ON_ERROR
);
