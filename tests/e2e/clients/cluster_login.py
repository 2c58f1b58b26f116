import requests
import json

api_url = "http://<IP>:<PORT>/api/"
api_login = ''
api_apss = ''
access_token = ''

def login():
    global access_token
    send_token = requests.post(url=api_url+'login/', data={"access_token": access_token})
    answer_token = json.loads(send_token.text)
    if answer_token['status'] == 'success':
        print("Authorized on " +  api_url)
    if answer_token['status'] == 'error':
        print("Not authorized")
        print("Login request to "+api_url)
        send_login = requests.post(url=api_url+'login/', 
                                   data={"username": api_login, "password": api_apss})
        answer_login = json.loads(send_login.text)
        print(send_login.text)
        if answer_login['status'] == 'success':
            access_token = answer_login['msg']['access_token']
            f = open('access_token.tmp', 'w+')
            f.write(access_token)
            f.close()
            print("Authorization was successful to " + api_url)
        else:
            print("Failed login to " + api_url)
            print("Error: " + answer_login['error'])
