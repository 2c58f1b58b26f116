echo "log in:"; ANSWER=$(curl -s "$BASE/login" -d "login=$NAME" -d "pass=$PASSWORD"); echo "$ANSWER"
TOKEN=$(echo "$ANSWER" | sed -n 's/.*"token": *"\([a-z0-9]*\)".*/\1/p')
echo "use the session:"; curl -s -H "X-Auth-Bearer: $TOKEN" "$BASE/login"; echo
echo "log out:"; curl -s -i -X DELETE -H "X-Auth-Bearer: $TOKEN" "$BASE/login" | head -n 1
echo "refused:"; curl -s -i -H "X-Auth-Bearer: $TOKEN" "$BASE/login" | sed -n '1p;$p'; echo
