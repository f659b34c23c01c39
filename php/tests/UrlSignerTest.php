<?php

declare(strict_types=1);

namespace Wsgate\Tests;

use Wsgate\Exception\InvalidValue;
use Wsgate\UrlSigner;

const URL_KEY = '0123456789abcdef0123456789abcdef';

test('a signed URL is the one of the documentation', function (): void {
    $url = UrlSigner::fromKey(URL_KEY)->sign('/chat', ['user' => 42, 'room' => 'a b&c'], 60);
    [$signed, $signature] = explode('&signature=', $url);
    same(1, preg_match('{\A/chat\?user=42&room=a\+b%26c&expires=([0-9]+)\z}', $signed, $found));
    same(true, abs((int) $found[1] - time() - 60) <= 2);
    same(hash_hmac('sha256', $signed, URL_KEY), $signature);
});

test('a URL may have no parameters of its own', function (): void {
    same(1, preg_match('{\A/\?expires=[0-9]+&signature=[0-9a-f]{64}\z}', UrlSigner::fromKey(URL_KEY)->sign('/')));
});

test('the first key of a file signs', function (): void {
    $path = tempnam(sys_get_temp_dir(), 'key');
    file_put_contents($path, "\n" . URL_KEY . "\r\nbase64:" . base64_encode(random_bytes(32)) . "\n");
    [$signed, $signature] = explode('&signature=', UrlSigner::fromFile($path)->sign('/chat'));
    same(hash_hmac('sha256', $signed, URL_KEY), $signature);
    file_put_contents($path, 'base64:' . base64_encode(URL_KEY));
    [$signed, $signature] = explode('&signature=', UrlSigner::fromFile($path)->sign('/chat'));
    same(hash_hmac('sha256', $signed, URL_KEY), $signature);
    foreach (['', "\n\n", 'short', 'two words that are long enough for it'] as $bad) {
        file_put_contents($path, $bad);
        throws(InvalidValue::class, fn () => UrlSigner::fromFile($path));
    }
    unlink($path);
    throws(InvalidValue::class, fn () => UrlSigner::fromFile($path), 'cannot be read');
});

test('a weak key is none', function (): void {
    foreach (['', substr(URL_KEY, 1), 'base64:', 'base64:!', 'base64:' . base64_encode('x'), "a\nb"] as $bad) {
        throws(InvalidValue::class, fn () => UrlSigner::fromKey($bad));
    }
});

test('what no client could ask for is not signed', function (): void {
    $signer = UrlSigner::fromKey(URL_KEY);
    foreach (['', 'chat', '/a b', '/ä', '/?a', '/#a', "/a\n", '/a"', '/<a>'] as $bad) {
        throws(InvalidValue::class, fn () => $signer->sign($bad), 'path');
    }
    throws(InvalidValue::class, fn () => $signer->sign('/', ['expires' => 1]), 'expires');
    throws(InvalidValue::class, fn () => $signer->sign('/', ['signature' => 'x']), 'signature');
});
